"use client";

import { Suspense, useEffect, useState } from "react";
import { useAgentStream, type AgentStreamState } from "agent-stream/react";
import { useOptions } from "../address";

declare global {
  interface Window {
    agent?: AgentStreamState;
    openSession?: (sessionId: string) => void;
  }
}

/** Gives the hook's latest return value to the test, with a way to another session, and shows the output. */
function Probe() {
  const options = useOptions();
  const [sessionId, openSession] = useState(options.sessionId);
  const agent = useAgentStream({ ...options, sessionId });
  useEffect(() => {
    Object.assign(window, { agent, openSession });
  }, [agent]);
  return (
    <main>
      <p>{agent.output}</p>
      <small>{agent.status}</small>
    </main>
  );
}

export default function Page() {
  return (
    <Suspense>
      <Probe />
    </Suspense>
  );
}
