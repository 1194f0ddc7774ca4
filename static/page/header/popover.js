/** A button that opens a panel below it. Escape, a click elsewhere, and leaving it by Tab close the panel. */

import { useEffect, useId, useLayoutEffect, useRef, useState } from "preact/hooks";

import { html } from "../html.js";

const FIRST = "input:not([type=checkbox]), textarea, select, button";

/** `label` is the panel's name, `button` what its button shows, `children(close)` what is in it. */
export function Popover({ label, button, name = label, children }) {
  const [isOpen, setOpen] = useState(false);
  const id = useId();
  const frame = useRef(null);
  const close = () => {
    setOpen(false);
    frame.current.querySelector("button").focus();
  };
  useLeave(frame, isOpen, setOpen);
  useLayoutEffect(() => {
    if (isOpen) frame.current.querySelector(`[role=dialog] :is(${FIRST})`)?.focus();
  }, [isOpen]);
  const onKeyDown = (event) => {
    if (event.key !== "Escape" || !isOpen) return;
    event.preventDefault();
    close();
  };
  return html`
    <div class="popover" ref=${frame} onKeyDown=${onKeyDown}>
      <button
        type="button"
        class="plain"
        aria-haspopup="dialog"
        aria-expanded=${isOpen}
        aria-controls=${isOpen ? id : undefined}
        aria-label=${name}
        title=${label}
        onClick=${() => setOpen(!isOpen)}
      >
        ${button}
      </button>
      ${isOpen && html`<div class="panel" id=${id} role="dialog" aria-label=${label}><h2 class="hidden">${label}</h2>${children(close)}</div>`}
    </div>
  `;
}

/** Closes the panel when something outside is clicked or gets the focus. */
function useLeave(frame, isOpen, setOpen) {
  useEffect(() => {
    if (!isOpen) return;
    const leave = ({ target }) => {
      if (target instanceof Node && !frame.current.contains(target)) setOpen(false);
    };
    document.addEventListener("pointerdown", leave);
    document.addEventListener("focusin", leave);
    return () => {
      document.removeEventListener("pointerdown", leave);
      document.removeEventListener("focusin", leave);
    };
  }, [isOpen]);
}
