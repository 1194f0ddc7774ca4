"use client";

import type { AgentError, Changes, PendingCall } from "agent-stream";
import { useId, useState } from "react";
import { pretty } from "@/lib/format";
import { useAnswer } from "@/lib/useAnswer";
import { Icon } from "./icons";

interface ApprovalCardProps {
  call: PendingCall;
  approve: (callId: string, changes?: Changes) => Promise<AgentError | null>;
  refuse: (callId: string, reason?: string) => Promise<AgentError | null>;
}

/** Asks a person about a call, whose arguments can be changed before it is made. */
export function ApprovalCard({ call, approve, refuse }: ApprovalCardProps) {
  const { tool_call_id: id, name, expires_at } = call;
  const written = pretty(call.arguments_text);
  const [text, setText] = useState(written);
  const { send, isSending, mistake } = useAnswer();
  const title = useId();

  const approveChanged = () => {
    void send(() => approve(id, text === written ? {} : { arguments_text: text }));
  };

  return (
    <section aria-labelledby={title} className="rounded-2xl border border-wait/40 bg-wait-wash p-4 text-sm shadow-sm">
      <h2 id={title} className="flex items-center gap-2 font-medium">
        <Icon name="person" className="size-4 text-wait" />
        <span>
          May the agent call <code className="font-mono font-semibold">{name}</code>?
        </span>
      </h2>
      <textarea
        aria-label={`Arguments of ${name}`}
        spellCheck={false}
        className="mt-3 field-sizing-content max-h-48 w-full resize-none rounded-lg border border-edge bg-page p-2.5 font-mono text-xs leading-5"
        value={text}
        onChange={(change) => setText(change.target.value)}
      />
      {mistake && (
        <p role="alert" className="mt-2 text-bad">
          {mistake}
        </p>
      )}
      <div className="mt-3 flex flex-wrap items-center gap-2">
        <button
          type="button"
          disabled={isSending}
          onClick={approveChanged}
          className="rounded-lg bg-accent px-4 py-1.5 font-medium text-on-accent hover:bg-accent-strong disabled:opacity-50"
        >
          {text === written ? "Approve" : "Approve with changes"}
        </button>
        <button
          type="button"
          disabled={isSending}
          onClick={() => void send(() => refuse(id))}
          className="rounded-lg border border-edge bg-page px-4 py-1.5 font-medium hover:bg-hover disabled:opacity-50"
        >
          Deny
        </button>
        {expires_at && (
          <span className="text-xs text-soft">Denied automatically at {new Date(expires_at).toLocaleString()}.</span>
        )}
      </div>
    </section>
  );
}
