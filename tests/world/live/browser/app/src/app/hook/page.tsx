"use client";

import { Suspense, useEffect } from "react";
import { useAgentStream, type AgentStream } from "@/agent-stream";
import { useOptions } from "../address";

declare global {
  interface Window {
    agent?: AgentStream;
  }
}

/** Gives the hook's latest return value to the test, and shows the output. */
function Probe() {
  const agent = useAgentStream(useOptions());
  useEffect(() => {
    window.agent = agent;
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
