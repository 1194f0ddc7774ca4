/** The web pages that an answer cites, below it. */

import { useId } from "preact/hooks";

import { html } from "../html.js";
import { pagesOf } from "./pages.js";

export function CitedPages({ sources }) {
  const title = useId();
  const pages = pagesOf(sources);
  if (pages.length === 0) return null;
  return html`
    <section class="cited-pages" aria-labelledby=${title}>
      <h3 id=${title}>Sources</h3>
      <ol>
        ${pages.map(
          ({ number, href, host, label, snippet }) => html`<li key=${number} value=${number}>
            <a href=${href} title=${snippet} target="_blank" rel="noopener noreferrer nofollow" referrerpolicy="no-referrer">${label}</a>
            ${label !== host && html` <span class="muted">${host}</span>`}
          </li>`,
        )}
      </ol>
    </section>
  `;
}
