/** A run's error, with what helps to report it, and a way to try again. */

import { explain } from "agent-stream";

import { html } from "../html.js";
import { Icon } from "../icons.js";
import { showFailure } from "../inspector/links.js";
import { CopyButton } from "./copy_button.js";

/** Errors after which the run may still be going. */
const OF_CONNECTION = new Set(["network", "incomplete", "not_stopped"]);

/**
 * `again` asks the question again, and `reconnect` reads the rest of the run, or cancels it if it was stopped. Without a `runId`, the
 * error belongs to no run.
 */
export function Failure({ runId = "", error, again, reconnect }) {
  const { code, request_id, retry_after } = error;
  const isOfConnection = OF_CONNECTION.has(code) || code.startsWith("http_5");
  const act = isOfConnection && reconnect ? reconnect : again;
  return html`
    <section class="failure" role="alert">
      <p class="failure-title"><${Icon} name="alert" />${act ? withoutAdvice(explain(error)) : explain(error)}</p>
      <p class="failure-facts">
        <code>${code}</code>
        ${request_id && html`<${RequestId} id=${request_id} />`}
        ${retry_after && html`<span>Retry after ${Math.ceil(retry_after)} s.</span>`}
        ${runId !== "" && html`<button type="button" class="plain" onClick=${() => void showFailure(runId)}>Show event</button>`}
        ${act && html`<button type="button" onClick=${act}><${Icon} name="again" />${code === "not_stopped" ? "Stop again" : "Try again"}</button>`}
      </p>
    </section>
  `;
}

/** Returns an error's text without the advice that the button beside it follows. */
const withoutAdvice = (text) => text.replace(/ Try again later\.$/, "");

function RequestId({ id }) {
  return html`
    <span>
      Request <code class="id">${id}</code>
      <${CopyButton} label="Copy request ID" text=${() => id} />
    </span>
  `;
}
