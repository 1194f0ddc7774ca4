/** The tab Request: the shown run's request as this page sent it. */

import { JsonView } from "../chat/json_view.js";
import { html } from "../html.js";
import { useStore } from "../store.js";
import { withoutSecrets } from "./requests.js";
import { useShownRun } from "./shown_run.js";

export function RequestTab() {
  const { runId } = useShownRun();
  const request = useStore((state) => state.lastRequest);
  const isOfRun = request && [null, runId].includes(request.runId);
  if (!isOfRun) return html`<${Unknown} />`;
  const headers = withoutSecrets(request.headers);
  return html`
    <p class="request-route"><span class="tag">POST</span> <code>${request.path}</code></p>
    <section aria-labelledby="headers-title">
      <h3 id="headers-title">Headers</h3>
      <dl class="request-headers">
        ${Object.entries(headers).map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}
      </dl>
    </section>
    <section aria-labelledby="body-title">
      <h3 id="body-title">Body</h3>
      <${JsonView} json=${JSON.stringify(request.body)} />
    </section>
  `;
}

const Unknown = () => html`
  <div class="no-run">
    <p>No request to show</p>
    <p class="muted small">This tab didn't start this run, or has asked again since.</p>
  </div>
`;
