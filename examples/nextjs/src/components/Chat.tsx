"use client";

import { isUnfinished, type Question } from "agent-stream";
import { useAgentStream } from "agent-stream/react";
import { useCallback, useEffect, useRef } from "react";
import { useFacts, useStoredFacts } from "@/lib/useFacts";
import { useStickToBottom } from "@/lib/useStickToBottom";
import { ApprovalCard } from "./ApprovalCard";
import { BudgetCard } from "./BudgetCard";
import { Composer } from "./Composer";
import { EmptyState } from "./EmptyState";
import { ErrorNote } from "./ErrorNote";
import { IconButton } from "./IconButton";
import { Message } from "./Message";

interface ChatProps {
  sessionId: string;
  /** Called when a question is asked. */
  onAsk: () => void;
  /** Called when the state of the run has changed. */
  onChange: () => void;
}

/** A conversation, and the field for the next question. */
export function Chat({ sessionId, onAsk, onChange }: ChatProps) {
  const { factsOf, onFrame, load } = useFacts(sessionId);
  const agent = useAgentStream({ baseUrl: "", sessionId, storageKey: "agent-run", onFrame });
  const { messages, status, runId, pending, budget, error, isStreaming } = agent;
  const { stream, retry, stop, approve, refuse, raiseBudget, refuseBudget, showBranch } = agent;
  const { scroller, content, isAway, toBottom } = useStickToBottom();
  const field = useRef<HTMLTextAreaElement>(null);
  useStoredFacts(messages, load);
  useEffect(() => focusField(field.current), []);
  useEffect(onChange, [status, runId, onChange]);

  const ask = (question: string | Question) => {
    onAsk();
    toBottom();
    focusField(field.current);
    void stream(question);
  };
  const tryAgain = useCallback(() => void retry(), [retry]);
  const show = useCallback((branch: string) => void showBranch(branch), [showBranch]);
  const last = messages.at(-1);
  const isRetryable = !isStreaming && last !== undefined && !isUnfinished(last);
  const isInMessage = messages.some((message) => message.error && message.run_id === runId);

  return (
    <>
      <div ref={scroller} className="min-h-0 flex-1 overflow-y-auto scrollbar-quiet md:[scrollbar-gutter:stable_both-edges]">
        <div ref={content} className="mx-auto flex min-h-full max-w-3xl flex-col px-4 sm:px-6">
          {messages.length === 0 && status === "idle" && <EmptyState ask={ask} />}
          {messages.map((message) => (
            <Message
              key={message.message_id}
              message={message}
              facts={factsOf(message)}
              retry={isRetryable && message === last ? tryAgain : undefined}
              showBranch={show}
            />
          ))}
          {error && !isInMessage && <ErrorNote error={error} />}
        </div>
      </div>
      <div className="relative mx-auto w-full max-w-3xl space-y-3 px-4 pb-3 sm:px-6">
        {isAway && (
          <IconButton
            icon="down"
            label="Go to the latest message"
            className="absolute -top-11 left-1/2 size-9 -translate-x-1/2 rounded-full! border border-line bg-page shadow-md"
            onClick={toBottom}
          />
        )}
        {budget && <BudgetCard key={budget.expires_at} budget={budget} raise={raiseBudget} refuse={refuseBudget} />}
        {pending.map((call) =>
          call.kind === "approval" ? (
            <ApprovalCard key={call.tool_call_id} call={call} approve={approve} refuse={refuse} />
          ) : (
            <p key={call.tool_call_id} className="text-sm text-soft">
              The page that asked has to run <code>{call.name}</code>.
            </p>
          ),
        )}
        <Composer field={field} messages={messages} isStreaming={isStreaming} ask={ask} stop={() => void stop()} />
        <div className="h-4 text-center text-xs text-soft">
          <p role="status">{STATUS[status]}</p>
          {!STATUS[status] && <p className="pointer-coarse:hidden">Enter sends. Shift+Enter begins a new line.</p>}
        </div>
      </div>
    </>
  );
}

/** Puts the cursor into the field, except on a touch screen, whose keyboard would cover the page. */
function focusField(field: HTMLTextAreaElement | null): void {
  if (!matchMedia("(pointer: coarse)").matches) field?.focus();
}

const STATUS: Partial<Record<string, string>> = {
  connecting: "Connecting…",
  streaming: "Answering…",
  waiting: "Waiting for your decision",
  reconnecting: "The connection was lost. Reconnecting…",
  failed: "The answer failed",
  stopping: "Stopping…",
  cancelled: "Stopped",
};
