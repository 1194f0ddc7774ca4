/** One event: its times and its JSON. */

import { JsonView } from "../chat/json_view.js";
import { html } from "../html.js";
import { bytes, duration } from "./formats.js";

export function EventDetail({ frame, before, onClose }) {
  const { event } = frame;
  const gap = before ? `+${duration(Math.max(0, frame.receivedAt - before.receivedAt))}` : "first event";
  return html`
    <section class="event-detail" aria-label="Event ${event.seq}">
      <header>
        <h3 class="cut">${event.seq} · ${event.event}</h3>
        <button type="button" class="plain" aria-label="Close event ${event.seq}" onClick=${onClose}>✕</button>
      </header>
      <p class="tiny muted">${event.timestamp} · ${gap} · ${bytes(frame.bytes)}</p>
      <${JsonView} json=${frame.json} />
    </section>
  `;
}
