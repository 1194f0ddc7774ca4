/** The tab Replay: play a run again from its log or from a file, and download it. */

import { html } from "../html.js";
import { navigate } from "../route.js";
import { useExternal, useStore } from "../store.js";
import { fileProblem, openFile } from "./run_files.js";
import { logUrl, useShownRun } from "./shown_run.js";
import { Transport } from "./transport.js";

export function ReplayTab() {
  const replay = useStore((state) => state.replay);
  const problem = useExternal(fileProblem, () => fileProblem.get().text);
  return html`
    ${replay ? html`<${Transport} replay=${replay} />` : html`<${ShownRun} />`}
    <${FilePicker} />
    ${problem && html`<p class="note is-bad" role="alert">${problem}</p>`}
  `;
}

function ShownRun() {
  const { runId, frames } = useShownRun();
  if (frames.length === 0) return html`<p class="small muted">Ask a question or open a run file to replay it.</p>`;
  const open = () => navigate({ run: runId, replay: frames.length });
  return html`
    <section class="card replay-card" aria-labelledby="this-run">
      <h3 id="this-run">This run</h3>
      <p class="mono tiny cut">${runId}</p>
      <p class="button-line">
        <button type="button" class="primary" onClick=${open}>Replay this run</button>
        <a class="button" href=${logUrl(runId)} download="${runId}.jsonl">Download</a>
      </p>
      <p class="tiny muted">One JSON event per line, exactly as stored.</p>
    </section>
  `;
}

function FilePicker() {
  const choose = (event) => {
    const [file] = event.target.files;
    if (file) void openFile(file);
    event.target.value = ""; // so that the same file can be chosen again
  };
  return html`
    <label class="file-drop">
      <strong>Open a run file</strong>
      <span class="tiny muted">Drop a .jsonl or .sse file here, or click to browse.</span>
      <input type="file" class="hidden" accept=".jsonl,.sse,.ndjson,.txt" onChange=${choose} />
    </label>
  `;
}
