/** The inspector: what the shown run did, event by event, and ways to break, replay and compare runs. */

import { html } from "../html.js";
import { navigate } from "../route.js";
import { store, useStore } from "../store.js";
import { Tabs } from "../tabs.js";
import { CodeTab } from "./code_tab.js";
import { CompareButton } from "./compare.js";
import { EventsTab } from "./events_tab.js";
import { FaultsTab } from "./faults_tab.js";
import { ReplayTab } from "./replay_tab.js";
import { RequestTab } from "./request_tab.js";
import { takingFiles } from "./run_files.js";
import { RunTab } from "./run_tab.js";

const TABS = [
  { id: "run", title: "Run", View: RunTab },
  { id: "events", title: "Events", View: EventsTab },
  { id: "request", title: "Request", View: RequestTab },
  { id: "code", title: "Code", View: CodeTab },
  { id: "faults", title: "Faults", View: FaultsTab },
  { id: "replay", title: "Replay", View: ReplayTab },
];

/** Returns the tab of a route: the one that it names, or else the events if it names one. */
function tabOf({ tab, seq }) {
  const isKnown = TABS.some(({ id }) => id === tab);
  return isKnown ? tab : defaultTab(seq);
}

const defaultTab = (seq) => (seq === null ? "run" : "events");

function select(id) {
  const { seq } = store.get().route;
  navigate({ tab: id === defaultTab(seq) ? null : id }, { replace: true });
}

export function Inspector() {
  const selected = useStore(({ route }) => tabOf(route));
  const isShown = useStore(({ isWide, isInspecting, drawer }) => (isWide ? isInspecting : drawer === "inspector"));
  if (!isShown) return null; // drawing it would slow down the chat
  return html`
    <div class="file-taker" ...${takingFiles(() => select("replay"))}>
      <h2 class="hidden">Inspector</h2>
      <${Tabs} name="inspector" label="Inspector" tabs=${TABS} selected=${selected} onSelect=${select} />
      <${CompareButton} />
    </div>
  `;
}
