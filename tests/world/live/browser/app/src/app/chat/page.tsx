"use client";

import { Suspense } from "react";
import AgentChat from "@/agent-chat";
import { Away, useOptions } from "../address";

function Chat() {
  return (
    <>
      <Away />
      <AgentChat {...useOptions()} />
    </>
  );
}

export default function Page() {
  return (
    <Suspense>
      <Chat />
    </Suspense>
  );
}
