/** The attachments of a question: small images, and files by their names. */

import { html } from "../html.js";
import { Icon } from "../icons.js";
import { size } from "./format.js";

/** With `remove`, each attachment has a button that calls it with the attachment's place. */
export function AttachmentList({ attachments, remove }) {
  if (attachments.length === 0) return null;
  return html`
    <ul class="attachments" aria-label="Attachments">
      ${attachments.map((attachment, place) => html`
        <li key=${place}><${Attachment} ...${attachment} remove=${remove && (() => remove(place))} /></li>
      `)}
    </ul>
  `;
}

function Attachment({ name, part, size: bytes, remove }) {
  return html`
    ${part.type === "image"
      ? html`<${Picture} url=${part.url} name=${name} />`
      : html`<${File} name=${name} bytes=${bytes} />`}
    ${remove &&
    html`<button type="button" class="plain remove" aria-label=${`Remove ${name}`} onClick=${remove}>
      <${Icon} name="close" />
    </button>`}
  `;
}

function File({ name, bytes }) {
  return html`<span class="file"><${Icon} name="file" />${name} <span class="muted tiny">${size(bytes)}</span></span>`;
}

/** Only an image that came with the page is drawn: another one would be fetched from its host. */
function Picture({ url, name }) {
  if (url.startsWith("data:image/")) return html`<img src=${url} alt=${name} />`;
  return html`<span class="file"><${Icon} name="file" />${url.slice(0, 80)}</span>`;
}
