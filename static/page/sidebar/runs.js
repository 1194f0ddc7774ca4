/** The list of runs, of all sessions and of none. */

import { useEffect } from "preact/hooks";

import { cost } from "../chat/format.js";
import { html } from "../html.js";
import { keepCurrent } from "../lists.js";
import { moveFocus } from "../roving.js";
import { formatRoute, onPlainClick, openRun } from "../route.js";
import { useStore } from "../store.js";
import { age } from "../times.js";
import { Dot } from "./dot.js";
import { More } from "./more.js";

export function Runs() {
  const list = useStore((state) => state.runs);
  const current = useStore(({ route }) => route.run);
  useEffect(() => keepCurrent("runs"), []);
  const first = list.items.find(({ run_id }) => run_id === current) ?? list.items[0];
  return html`
    ${list.error && html`<p class="hint">Couldn't load runs. ${list.error}</p>`}
    ${list.isLoaded && list.items.length === 0 && html`<p class="hint">No runs yet. Each question you ask starts one.</p>`}
    <ul class="items" onKeyDown=${(event) => moveFocus(event, "a")}>
      ${list.items.map((run) => html`<${RunItem} key=${run.run_id} run=${run} isCurrent=${run.run_id === current} isFirst=${run === first} />`)}
    </ul>
    <${More} name="runs" list=${list} label="Show more" />
  `;
}

function RunItem({ run, isCurrent, isFirst }) {
  const { run_id, session_id = null, status, model, created_at, usage } = run;
  const title = useStore(({ sessions }) => sessions.items.find((session) => session.session_id === session_id)?.title);
  const about = [status, model, usage?.total_tokens && `${usage.total_tokens} tokens`, cost(usage)].filter(Boolean).join(" · ");
  return html`
    <li class=${isCurrent ? "item is-current" : "item"}>
      <a
        href="./${formatRoute({ session: session_id, run: run_id })}"
        tabindex=${isFirst ? 0 : -1}
        aria-current=${isCurrent ? "page" : undefined}
        title=${run_id}
        onClick=${onPlainClick(() => openRun(run))}
      >
        <${Dot} status=${status} />
        <span class="item-text" title=${title ?? session_id ?? run_id}><span class="cut">${title ?? session_id ?? run_id}</span><span class="cut tiny muted">${about}</span></span>
        <time datetime=${created_at}>${age(created_at)}</time>
      </a>
    </li>
  `;
}
