"use client";

// A chat with an Agent Stream service, in React with Tailwind CSS. Copy this file, and install the client:
// npm install http://127.0.0.1:8000/static/agent-stream.tgz
// The hook keeps the conversation, and resumes it after outages and reloads: docs/react.md describes it.

import { explain, madeWith, prettyJson, textOf, useAgentStream, useReturned } from "agent-stream/react";
import type { AgentError, AgentStreamState, ConversationOptions } from "agent-stream/react";
import type { Message, Part, PendingBudget, PendingCall, ToolCall } from "agent-stream/react";
import { memo, type ReactNode, useState } from "react";

export { useAgentStream };

const TEXT = "leading-7 whitespace-pre-wrap wrap-anywhere";
const CODE = "font-mono text-sm whitespace-pre-wrap wrap-anywhere";
const FAINT = "text-slate-500 dark:text-slate-400";
const CARD = "rounded-2xl border border-slate-200 bg-white px-4 py-3 shadow-xs dark:border-slate-800 dark:bg-slate-900";
const FIELD = "border border-slate-300 bg-white outline-indigo-500 dark:border-slate-700 dark:bg-slate-950";
const MAIN = "cursor-pointer rounded-full bg-indigo-600 px-4 py-2 font-medium text-white hover:bg-indigo-500";
const BUTTON = "cursor-pointer rounded-full bg-slate-200 px-4 py-2 font-medium hover:opacity-80 dark:bg-slate-800";
const BUBBLE = "max-w-[85%] self-end rounded-2xl rounded-br-md bg-indigo-600 px-4 py-2 text-white";

export default function AgentChat(options: ConversationOptions) {
  const agent = useAgentStream({ storageKey: "agent-stream-run", ...options });
  const { messages, pending, budget, error, runId, isOurs, attach } = agent;
  const isInMessage = messages.some((message) => message.run_id === runId && message.error);
  return (
    <main className="h-dvh bg-slate-50 text-slate-900 dark:bg-slate-950 dark:text-slate-100">
      <div className="mx-auto flex h-full max-w-3xl flex-col px-4">
        {/* A reversed column stays at its end while the answer grows. */}
        <div className="flex flex-1 flex-col-reverse overflow-y-auto">
          <div className="flex flex-col gap-4 py-6">
            {messages.length === 0 && <h1 className="py-16 text-center text-2xl">What can I do for you?</h1>}
            {messages.map((message) => <MessageView key={message.message_id} message={message} />)}
            {error && !isInMessage && <Failure error={error} />}
          </div>
        </div>
        {budget && <BudgetCard key={budget.expires_at} budget={budget} agent={agent} />}
        {pending.map((call) => {
          const { tool_call_id: id, kind, name } = call;
          if (kind === "approval") return <ApprovalCard key={id} call={call} agent={agent} />;
          if (isOurs || runId === null) return null; // the hook makes the calls of its own runs
          const canRun = Object.hasOwn(options.clientTools ?? {}, name);
          return (
            <section key={id} className={`${CARD} mb-3`}>
              The page that asked has to run <code>{name}</code>.{" "}
              {canRun && <button className={BUTTON} onClick={() => attach(runId)}>Run it here</button>}
            </section>
          );
        })}
        <Composer agent={agent} />
      </div>
    </main>
  );
}

/** A question or an answer. An unchanged message is not rendered again while another one streams. */
const MessageView = memo(function MessageView({ message }: { message: Message }) {
  const { role, content, parts, status, error } = message;
  if (role === "user") return <p className={`${TEXT} ${BUBBLE}`}>{textOf(content ?? "")}</p>;
  return (
    <div className="flex flex-col gap-3" aria-live="polite" aria-busy={status === "running"}>
      {parts.map((part, place) => <PartView key={place} part={part} />)}
      {status === "cancelled" && <p className={FAINT}>Stopped.</p>}
      {status === "failed" && error && <Failure error={error} />}
    </div>
  );
});

function PartView({ part }: { part: Part }) {
  if (part.type === "text") return <p className={TEXT}>{part.text}</p>;
  if (part.type === "thinking") return <Folded summary="Thinking">{part.text}</Folded>;
  const { name, result } = part.call;
  return (
    <Folded summary={<code>{name}</code>} state={stateOf(part.call)}>
      <pre className={CODE}>{madeWith(part.call)}</pre>
      {result && <pre className={`${CODE} mt-2`}>{result.content}</pre>}
    </Folded>
  );
}

function stateOf({ approval_request, approval_response, progress, result }: ToolCall): string {
  if (approval_request && !approval_response) return "waits for approval";
  if (!result) return progress?.message ?? "…";
  if (approval_response?.approved === false) return "denied";
  return result.is_error ? "failed" : "done";
}

function Folded({ summary, state, children }: { summary: ReactNode; state?: string; children: ReactNode }) {
  return (
    <details className={CARD}>
      <summary className="cursor-pointer font-medium">{summary} <small className={FAINT}>{state}</small></summary>
      <div className={`${TEXT} ${FAINT} mt-2`}>{children}</div>
    </details>
  );
}

/** Asks a person about a call, whose arguments can be changed before it is made. */
function ApprovalCard({ call, agent }: { call: PendingCall; agent: AgentStreamState }) {
  const written = prettyJson(call.arguments_text);
  const [text, setText] = useState(written);
  const [mistake, setMistake] = useState<AgentError | null>(null);
  const changes = text === written ? {} : { arguments_text: text };
  const send = async (answer: Promise<AgentError | null>) => setMistake(await answer);
  return (
    <section aria-label={`Approval of ${call.name}`} className={`${CARD} mb-3 flex flex-col gap-3`}>
      <h2 className="font-semibold">May the agent call <code>{call.name}</code>?</h2>
      <textarea
        aria-label="Arguments"
        className={`${FIELD} field-sizing-content rounded-lg p-2 font-mono text-sm`}
        value={text}
        onChange={(change) => setText(change.target.value)}
      />
      <div className="flex flex-wrap items-center gap-2">
        <button className={MAIN} onClick={() => send(agent.approve(call.tool_call_id, changes))}>Approve</button>
        <button className={BUTTON} onClick={() => send(agent.refuse(call.tool_call_id))}>Deny</button>
        {call.expires_at && <small>Denied automatically at {new Date(call.expires_at).toLocaleString()}.</small>}
      </div>
      {mistake && <Failure error={mistake} />}
    </section>
  );
}

/** Asks a person for twice the budget, which is spent. */
function BudgetCard({ budget, agent }: { budget: PendingBudget; agent: AgentStreamState }) {
  const { spent_tokens, max_total_tokens: tokens, max_cost_usd: cost } = budget;
  const [mistake, setMistake] = useState<AgentError | null>(null);
  const doubled = { ...(tokens && { max_total_tokens: 2 * tokens }), ...(cost && { max_cost_usd: 2 * cost }) };
  return (
    <section className={`${CARD} mb-3 flex flex-wrap items-center gap-2`}>
      <h2 className="grow font-semibold">The budget is spent: {spent_tokens} tokens.</h2>
      <button className={MAIN} onClick={async () => setMistake(await agent.raiseBudget(doubled))}>Double it</button>
      <button className={BUTTON} onClick={async () => setMistake(await agent.refuseBudget())}>End the run</button>
      {mistake && <Failure error={mistake} />}
    </section>
  );
}

/** The field for the next question. A question that was stopped or refused before it had arrived comes back. */
function Composer({ agent }: { agent: AgentStreamState }) {
  const { status, messages, isStreaming, stream, stop, retry } = agent;
  const [question, setQuestion] = useState("");
  useReturned(messages, ({ content }) => setQuestion((typed) => typed || textOf(content ?? "")));
  const ask = (submit: { preventDefault: () => void }) => {
    submit.preventDefault();
    if (isStreaming || question.trim() === "") return;
    void stream(question);
    setQuestion("");
  };
  const canRetry = !isStreaming && messages.length > 0;
  return (
    <form className="flex flex-wrap items-center gap-2 py-4" onSubmit={ask}>
      <input
        aria-label="Question"
        placeholder="Ask the agent"
        className={`${FIELD} min-w-48 flex-1 rounded-full px-4 py-2`}
        value={question}
        onChange={(change) => setQuestion(change.target.value)}
      />
      {isStreaming && <button type="button" className={BUTTON} onClick={stop}>Stop</button>}
      {!isStreaming && <button type="submit" className={MAIN}>Ask</button>}
      {canRetry && <button type="button" className={BUTTON} onClick={() => retry()}>Try again</button>}
      <small role="status" className={`${FAINT} w-full`}>{status}</small>
    </form>
  );
}

function Failure({ error }: { error: AgentError }) {
  const looks = "rounded-xl bg-red-50 px-4 py-3 text-red-800 dark:bg-red-950 dark:text-red-200";
  return <p role="alert" className={looks}>{explain(error)} ({error.code})</p>;
}
