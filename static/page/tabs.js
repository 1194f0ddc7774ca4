/** Tabs with the keyboard pattern of the ARIA guide: arrows, Home and End move and select, Tab goes into the panel. */

import { useRef } from "preact/hooks";

import { html } from "./html.js";

const STEPS = {
  ArrowLeft: (place, count) => (place + count - 1) % count,
  ArrowRight: (place, count) => (place + 1) % count,
  Home: () => 0,
  End: (_, count) => count - 1,
};

/** Shows `tabs`, each { id, title, View }, and the panel of the selected one. `name` makes the ids of the elements. */
export function Tabs({ name, label, tabs, selected, onSelect }) {
  const list = useRef(null);
  const place = tabs.findIndex(({ id }) => id === selected);
  const { View } = tabs[place];
  const onKeyDown = (event) => {
    if (!Object.hasOwn(STEPS, event.key)) return;
    event.preventDefault();
    const next = STEPS[event.key](place, tabs.length);
    onSelect(tabs[next].id);
    list.current.children[next].focus();
  };
  return html`
    <div class="tabs" role="tablist" aria-label=${label} ref=${list} onKeyDown=${onKeyDown}>
      ${tabs.map(
        ({ id, title }) => html`
          <button
            key=${id}
            type="button"
            role="tab"
            id="${name}-tab-${id}"
            aria-controls="${name}-panel"
            aria-selected=${id === selected}
            tabindex=${id === selected ? 0 : -1}
            onClick=${() => onSelect(id)}
          >
            ${title}
          </button>
        `,
      )}
    </div>
    <div class="tab-panel" role="tabpanel" id="${name}-panel" aria-labelledby="${name}-tab-${selected}" tabindex="0" key=${selected}>
      <${View} />
    </div>
  `;
}
