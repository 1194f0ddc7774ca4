"use client";

import Link from "next/link";
import { usePathname, useSearchParams } from "next/navigation";
import type { ConversationOptions } from "agent-stream/react";

/** Leaves an item in localStorage for each call. It returns what the page's address says, or else never. */
function clientTool(result: string | undefined): () => Promise<string> {
  return () => {
    localStorage.setItem(crypto.randomUUID(), "called");
    return result === undefined ? new Promise(() => {}) : Promise.resolve(result);
  };
}

/** The hook's options as the page's address has them: ?baseUrl=…&sessionId=…&tool=… */
export function useOptions(): ConversationOptions {
  const { tool, result, heartbeatS, maxRetries, ...options } = Object.fromEntries(useSearchParams());
  return {
    ...options,
    heartbeatS: heartbeatS === undefined ? undefined : Number(heartbeatS),
    maxRetries: maxRetries === undefined ? undefined : Number(maxRetries),
    clientTools: tool === undefined ? undefined : { [tool]: { run: clientTool(result) } },
  };
}

/** A link to another page, which has one back to this address. */
export function Away() {
  const here = `${usePathname()}?${useSearchParams()}`;
  return <Link href={`/elsewhere?back=${encodeURIComponent(here)}`}>Elsewhere</Link>;
}
