/** A button that copies a text, and says so for a moment. */

import { useEffect, useState } from "preact/hooks";

import { html } from "../html.js";
import { Icon } from "../icons.js";

const SHOWN_MS = 1500;

/** `text` returns the text to copy. `withWord` shows a word beside the icon. */
export function CopyButton({ text, label, withWord = false }) {
  const [outcome, setOutcome] = useState(null);
  useEffect(() => {
    if (outcome === null) return undefined;
    const timer = setTimeout(() => setOutcome(null), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [outcome]);
  const copy = async () => setOutcome(await copied(text()));
  return html`
    <button type="button" class="plain copy" aria-label=${label} title=${label} onClick=${copy}>
      <${Icon} name=${outcome === "Copied" ? "check" : "copy"} />${withWord && (outcome ?? "Copy")}
      <span class="hidden" role="status">${outcome}</span>
    </button>
  `;
}

/** Copies a text, and returns what happened. Without HTTPS, a browser has no clipboard but the selection's. */
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return "Copied";
  } catch {
    return copiedBySelection(text) ? "Copied" : "Not copied";
  }
}

function copiedBySelection(text) {
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "hidden";
  const focused = document.activeElement;
  document.body.append(field);
  field.select();
  const isCopied = document.execCommand("copy");
  field.remove();
  focused?.focus();
  return isCopied;
}
