/** The inspector of the shown run. */

import { html } from "../html.js";
import { useStore } from "../store.js";

export function Inspector() {
  const frames = useStore((state) => state.frames);
  return html`<h2>Events</h2><ol>${frames.map(({ event }) => html`<li key=${event.seq}>${event.event}</li>`)}</ol>`;
}
