/* The tab Replay: play a run again from its log or from a file, and download it. */

import { useState } from "preact/hooks";

import { useConversation } from "../conversation.js";
import { html } from "../html.js";
import { useStore } from "../store.js";
import { logUrl, useShownRun } from "./shown_run.js";
import { openReplay } from "./replay.js";
import { openRunFile } from "./run_file.js";
import { frameOf } from "./stored_log.js";
import { Transport } from "./transport.js";

export function ReplayTab() {
  const replay = useStore((state) => state.replay);
  const [error, setError] = useState(null);
  const open = (file) => openFile(file).then(setError);
  return html`
    ${replay ? html`<${Transport} replay=${replay} />` : html`<${ShownRun} />`}
    <${FilePicker} onFile=${open} />
    ${error && html`<p class="note is-bad" role="alert">${error}</p>`}
  `;
}

/** Opens a run file. Resolves with the reason if that is impossible, and else with null. */
export async function openFile(file) {
  try {
    const events = await openRunFile(file);
    openReplay({ name: file.name, frames: events.map((event) => frameOf(event)) });
    return null;
  } catch (cause) {
    return `${file.name}: ${cause.message}`;
  }
}

function ShownRun() {
  const { runId, frames } = useShownRun();
  const { messages } = useConversation();
  if (frames.length === 0) return html`<p class="small muted">Ask a question or open a run file to replay it.</p>`;
  const question = messages.find((message) => message.run_id === runId && message.role === "user");
  return html`
    <section class="card replay-card" aria-labelledby="this-run">
      <h3 id="this-run">This run</h3>
      <p class="mono tiny cut">${runId}</p>
      <p class="button-line">
        <button type="button" class="primary" onClick=${() => openReplay({ name: runId, frames, question })}>Replay this run</button>
        <a class="button" href=${logUrl(runId)} download="${runId}.jsonl">Download</a>
      </p>
      <p class="tiny muted">The file has one event a line, as JSON, as the service has stored it.</p>
    </section>
  `;
}

function FilePicker({ onFile }) {
  const [isOver, setOver] = useState(false);
  const onDrop = (event) => {
    event.preventDefault();
    setOver(false);
    const [file] = event.dataTransfer.files;
    if (file) onFile(file);
  };
  const onDragOver = (event) => {
    event.preventDefault();
    setOver(true);
  };
  return html`
    <label class="file-drop ${isOver ? "is-over" : ""}" onDragOver=${onDragOver} onDragLeave=${() => setOver(false)} onDrop=${onDrop}>
      <strong>Open a run file</strong>
      <span class="tiny muted">Drop a .jsonl or .sse file here, or click to choose one.</span>
      <input
        type="file"
        class="hidden"
        accept=".jsonl,.sse,.ndjson,.txt"
        onChange=${(event) => {
          const [file] = event.target.files;
          if (file) onFile(file);
          event.target.value = "";
        }}
      />
    </label>
  `;
}
