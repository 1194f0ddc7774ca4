/** A budget that is spent: a person raises its totals, or ends the run. */

import { explain } from "agent-stream";
import { useId, useState } from "preact/hooks";

import { html } from "../html.js";
import { Icon } from "../icons.js";
import { count, dollars } from "./format.js";
import { TimeLeft } from "./time_left.js";

/** The totals that a budget may have. `spent` is the key of what is spent of one. */
const TOTALS = {
  max_total_tokens: { spent: "spent_tokens", unit: "tokens", step: "1", about: (spent, all) => `${spent.toLocaleString("en")} of ${count(all, "token", "tokens")}` },
  max_cost_usd: { spent: "spent_cost_usd", unit: "US dollars", step: "any", about: (spent, all) => `${dollars(spent)} of ${dollars(all)}` },
};

/** `raise` and `refuse` send the decision, and resolve with an error or null. */
export function BudgetCard({ budget, raise, refuse }) {
  const title = useId();
  const names = Object.keys(TOTALS).filter((name) => name in budget);
  const [totals, setTotals] = useState(() => Object.fromEntries(names.map((name) => [name, String(2 * budget[name])])));
  const [isSending, setSending] = useState(false);
  const [problem, setProblem] = useState("");
  const send = async (decision) => {
    setSending(true);
    const error = await decision;
    setSending(false);
    setProblem(error ? explain(error) : "");
  };
  const submit = (event) => {
    event.preventDefault();
    void send(raise(Object.fromEntries(names.map((name) => [name, Number(totals[name])]))));
  };
  const change = (name, value) => setTotals({ ...totals, [name]: value });
  return html`
    <form class="approval asks" tabindex="-1" aria-labelledby=${title} onSubmit=${submit}>
      <h3 id=${title}><${Icon} name="wait" /><span>The budget is spent. Raise it to continue?</span></h3>
      <p class="approval-about">${names.map((name) => spentOf(budget, name)).join(" · ")}
        <${TimeLeft} until=${budget.expires_at} words="Ends automatically" />
      </p>
      ${names.map((name) => html`
        <${Total} key=${name} name=${name} value=${totals[name]} change=${(value) => change(name, value)} />
      `)}
      ${problem && html`<p class="problem" role="alert">${problem}</p>`}
      <div class="approval-actions">
        <button type="submit" class="primary" disabled=${isSending}><${Icon} name="check" />Raise the budget</button>
        <button type="button" class="danger" disabled=${isSending} onClick=${() => send(refuse())}>
          <${Icon} name="close" />End the run
        </button>
      </div>
    </form>
  `;
}

function spentOf(budget, name) {
  const { spent, about } = TOTALS[name];
  return `${about(budget[spent], budget[name])} spent`;
}

function Total({ name, value, change }) {
  const { unit, step } = TOTALS[name];
  return html`
    <label class="budget-total">New total, in ${unit}
      <input type="number" min="0" step=${step} required value=${value} onInput=${({ target }) => change(target.value)} />
    </label>
  `;
}
