/** The inspector: what the shown run did, event by event, and ways to break, replay and compare runs. */

import { useEffect, useState } from "preact/hooks";

import { openDrawer } from "../drawers.js";
import { html } from "../html.js";
import { store, useStore } from "../store.js";
import { Tabs } from "../tabs.js";
import { CodeTab } from "./code_tab.js";
import { Compare } from "./compare.js";
import { EventsTab } from "./events_tab.js";
import { FaultsTab } from "./faults_tab.js";
import { closeReplay } from "./replay.js";
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

/** Shows the event that the URL names, on a narrow window too. */
function showEvents(select) {
  select("events");
  if (!store.get().isWide) openDrawer("inspector");
}

export function Inspector() {
  const hasEvent = useStore((state) => state.route.seq !== null);
  const [selected, select] = useState(hasEvent ? "events" : "run");
  const isShown = useStore(({ isWide, isInspecting, drawer }) => (isWide ? isInspecting : drawer === "inspector"));
  const place = useStore(({ route, draft }) => `${route.session ?? draft} ${route.run}`);
  useEffect(() => {
    if (hasEvent) showEvents(select);
  }, [hasEvent]);
  useEffect(() => closeReplay, [place]); // the user has gone to another run
  if (!isShown) return null; // drawing it would slow down the chat
  return html`
    <div class="file-taker" ...${takingFiles(() => select("replay"))}>
      <h2 class="hidden">Inspector</h2>
      <${Tabs} name="inspector" label="Inspector" tabs=${TABS} selected=${selected} onSelect=${select} />
      <${Compare} />
    </div>
  `;
}
