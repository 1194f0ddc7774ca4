import { type AgentError, explain } from "agent-stream";
import type { ReactNode } from "react";
import { Icon } from "./icons";

/** An error, with its code and the request's id for a bug report, and a button that may help. */
export function ErrorNote({ error, children }: { error: AgentError; children?: ReactNode }) {
  return (
    <div role="alert" className="my-3 flex items-start gap-3 rounded-xl border border-bad/30 bg-bad-wash p-3 text-sm">
      <Icon name="warning" className="mt-0.5 size-4 text-bad" />
      <div className="min-w-0 flex-1">
        <p className="wrap-anywhere">{explain(error)}</p>
        <p className="mt-1 font-mono text-xs text-soft wrap-anywhere">
          {error.code}
          {error.request_id && ` · ${error.request_id}`}
        </p>
      </div>
      {children}
    </div>
  );
}
