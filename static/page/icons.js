/** The page's icons, drawn in the colour of the text around them. */

import { html } from "./html.js";

const PATHS = {
  again: "M3 12a9 9 0 0 1 15.5-6.2L21 8M21 3v5h-5M21 12a9 9 0 0 1-15.5 6.2L3 16m0 5v-5h5",
  alert: "M12 8v5m0 3.5v.01M10.3 3.9 2.4 17.5A2 2 0 0 0 4.1 20.5h15.8a2 2 0 0 0 1.7-3L13.7 3.9a2 2 0 0 0-3.4 0Z",
  chat: "M4 5h16v11H9l-5 4z",
  check: "m5 12.5 4.5 4.5L19 7.5",
  close: "M6 6l12 12M18 6 6 18",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  down: "m7 10 5 5 5-5",
  edit: "M4 20h4L19.5 8.5a2.1 2.1 0 0 0-4-4L4 16zM14 6l4 4",
  end: "M12 5v14m-6-6 6 6 6-6",
  file: "M14 3H6v18h12V7zm0 0v4h4",
  fold: "m9 6 6 6-6 6",
  key: "M16 12.5a4.5 4.5 0 1 0-4.3-3.2L4 17v3h3v-2h2v-2h2l1.7-1.7a4.5 4.5 0 0 0 3.3-1.8zM16.5 7.5v.01",
  left: "m15 6-6 6 6 6",
  menu: "M4 7h16M4 12h16M4 17h16",
  model: "M8 8h8v8H8zM10 4v4m4-4v4m-4 8v4m4-4v4M4 10h4m-4 4h4m8-4h4m-4 4h4",
  panel: "M4 5h16v14H4zM15 5v14",
  person: "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8zm-7 8a7 7 0 0 1 14 0",
  plus: "M12 5v14M5 12h14",
  remove: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13m-7 4v5m4-5v5",
  right: "m9 6 6 6-6 6",
  search: "M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14zm5-2 4 4",
  send: "M12 19V5m-6 6 6-6 6 6",
  sliders: "M4 7h10m4 0h2M4 17h2m4 0h10M14 4.500v5M10 14.500v5",
  stop: "M7 7h10v10H7z",
  think: "M12 3v3m0 12v3M3 12h3m12 0h3M5.6 5.6l2.1 2.1m8.6 8.6 2.1 2.1m0-12.8-2.1 2.1m-8.6 8.6-2.1 2.1",
  tool: "M14.7 6.3a4 4 0 0 0-5.2 5.2L3.8 17.2a2 2 0 1 0 3 3l5.7-5.7a4 4 0 0 0 5.2-5.2l-2.6 2.6-2.8-.6-.6-2.8z",
  wait: "M12 7v5l3 2m6-2a9 9 0 1 1-18 0 9 9 0 0 1 18 0Z",
};

export function Icon({ name }) {
  return html`
    <svg class="icon icon-${name}" viewBox="0 0 24 24" width="16" height="16" aria-hidden="true" focusable="false">
      <path d=${PATHS[name]} />
    </svg>
  `;
}
