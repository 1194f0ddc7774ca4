/** The button that loads a list's next page. */

import { useState } from "preact/hooks";

import { html } from "../html.js";
import { loadMore } from "../lists.js";

export function More({ name, list, label }) {
  const [isLoading, setLoading] = useState(false);
  if (list.cursor === null) return null;
  const load = async () => {
    setLoading(true);
    await loadMore(name);
    setLoading(false);
  };
  return html`<button type="button" class="plain more" disabled=${isLoading} onClick=${load}>${label}</button>`;
}
