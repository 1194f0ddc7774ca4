"use client";

/* A chat with an Agent Stream service, in React with Tailwind CSS. Install the client from the service, and copy this file:

     npm install http://127.0.0.1:8000/static/agent-stream.tgz

   The hook keeps the conversation, and resumes it after outages and reloads: docs/react.md describes it. */

import { explain, textOf, useAgentStream } from "agent-stream/react";
import type { AgentError, AgentStreamState, ConversationOptions, Message, Part } from "agent-stream/react";
import type { PendingCall, ToolCall } from "agent-stream/react";
import { memo, useState, type ReactNode } from "react";

export { useAgentStream };

const LINE = "border-slate-200 dark:border-slate-700";
const CARD = `rounded-xl border ${LINE} bg-white px-4 py-3 dark:bg-slate-900`;
const BUTTON = "cursor-pointer rounded-full px-4 py-2 font-medium outline-offset-2 outline-indigo-500";
const FIRST = `${BUTTON} bg-indigo-600 text-white hover:bg-indigo-500`;
const SECOND = `${BUTTON} border border-slate-300 hover:bg-slate-100 dark:border-slate-600 dark:hover:bg-slate-800`;
const TEXT = "whitespace-pre-wrap wrap-anywhere leading-7";
const FAINT = "text-slate-500 dark:text-slate-400";
const FIELD = "border border-slate-300 bg-white outline-indigo-500 dark:border-slate-600 dark:bg-slate-950";
const ALERT = "rounded-xl border border-red-300 bg-red-50 px-4 py-3 text-red-800";
const DARK_ALERT = "dark:border-red-800 dark:bg-red-950 dark:text-red-200";
const PAGE = "h-dvh bg-slate-50 text-slate-900 dark:bg-slate-950 dark:text-slate-100";

export default function AgentChat(options: ConversationOptions) {
  const agent = useAgentStream({ storageKey: "agent-stream-run", ...options });
  const { messages, pending, status, error, runId, isStreaming } = agent;
  const [question, setQuestion] = useState("");
  const isInMessage = messages.some((message) => message.run_id === runId && message.error);
  const isCutOff = status === "failed" && (error?.code === "network" || error?.code === "incomplete");

  const ask = () => {
    if (isStreaming || question.trim() === "") return;
    const taken = (asked: string) => (asked === question ? "" : asked);
    void agent.stream(question, ({ event }) => event === "run_started" && setQuestion(taken));
  };

  return (
    <main className={PAGE}>
      <div className="mx-auto flex h-full max-w-3xl flex-col">
        {/* A reversed column stays at its end while the answer grows. */}
        <div className="flex flex-1 flex-col-reverse overflow-y-auto px-4">
          <div className="flex flex-col gap-4 py-6">
            {messages.length === 0 && <h1 className="py-16 text-center text-2xl">What can I do for you?</h1>}
            {messages.map((message) => (
              <MessageView key={message.message_id} message={message} />
            ))}
            {error && !isInMessage && <Failure error={error} />}
          </div>
        </div>
        {pending.map((call) => (
          <PendingCard key={call.tool_call_id} call={call} agent={agent} tools={options.clientTools} />
        ))}
        <form
          className={`${LINE} flex flex-wrap items-center gap-2 border-t p-4`}
          onSubmit={(submit) => {
            submit.preventDefault();
            ask();
          }}
        >
          <input
            aria-label="Question"
            placeholder="Ask the agent"
            className={`${FIELD} min-w-48 flex-1 rounded-full px-4 py-2`}
            value={question}
            onChange={(change) => setQuestion(change.target.value)}
          />
          {isStreaming && <Button name="Stop" onPress={agent.stop} />}
          {!isStreaming && (
            <button type="submit" className={FIRST}>
              Ask
            </button>
          )}
          {isCutOff && <Button name="Try again" onPress={agent.reconnect} />}
          {messages.length > 0 && !isStreaming && !isCutOff && <Button name="Ask again" onPress={agent.regenerate} />}
          <small role="status" className={`${FAINT} w-full`}>
            {status}
          </small>
        </form>
      </div>
    </main>
  );
}

/** A question or an answer. An unchanged message is not rendered again while another one streams. */
const MessageView = memo(function MessageView({ message }: { message: Message }) {
  const { role, content, parts, status, error } = message;
  if (role === "user") {
    const bubble = `${TEXT} max-w-[85%] self-end rounded-2xl bg-indigo-600 px-4 py-2 text-white`;
    return <p className={bubble}>{textOf(content ?? "")}</p>;
  }
  return (
    <div className="flex flex-col gap-3" aria-live="polite" aria-busy={status === "running"}>
      {parts.map((part, place) => (
        <PartView key={place} part={part} />
      ))}
      {status === "cancelled" && <p className={`${FAINT} italic`}>Stopped.</p>}
      {status === "failed" && error && <Failure error={error} />}
    </div>
  );
});

function PartView({ part }: { part: Part }) {
  if (part.type === "text") return <p className={TEXT}>{part.text}</p>;
  if (part.type === "tool_call") return <CallCard {...part.call} />;
  return (
    <Folded summary="Thinking">
      <div className={`${TEXT} ${FAINT}`}>{part.text}</div>
    </Folded>
  );
}

function CallCard({ name, arguments_text, approval_request, approval_response, progress, result }: ToolCall) {
  const decision = approval_response && (approval_response.approved ? "approved" : "refused");
  const outcome = result && (result.is_error ? "failed" : "done");
  const state = outcome ?? progress?.message ?? decision ?? (approval_request ? "waits for approval" : "…");
  return (
    <Folded
      summary={
        <>
          <code>{name}</code> <span className={FAINT}>{state}</span>
        </>
      }
    >
      <pre className={`${TEXT} text-sm`}>{arguments_text}</pre>
      {result && <pre className={`${TEXT} ${LINE} mt-2 border-t pt-2 text-sm`}>{result.content}</pre>}
    </Folded>
  );
}

interface PendingCardProps {
  call: PendingCall;
  agent: AgentStreamState;
  tools: ConversationOptions["clientTools"];
}

/** A call that waits: for a person, or for the page that asked. */
function PendingCard({ call, agent, tools = {} }: PendingCardProps) {
  const written = JSON.stringify(call.arguments, null, 2);
  const [text, setText] = useState(written);
  const [mistake, setMistake] = useState("");
  if (call.kind === "client") {
    const { runId, isOurs } = agent;
    if (isOurs) return null; // the hook makes it
    return (
      <section className={`${CARD} mx-4 mb-3`}>
        The page that asked has to run <code>{call.name}</code>.{" "}
        {runId && Object.hasOwn(tools, call.name) && <Button name="Run it here" onPress={() => agent.attach(runId)} />}
      </section>
    );
  }
  const approve = async () => {
    const changes = text === written ? {} : { arguments: JSON.parse(text) as Record<string, unknown> };
    return agent.approve(call.tool_call_id, changes);
  };
  const send = (answer: () => Promise<AgentError | null>) =>
    answer().then(
      (error) => setMistake(error ? explain(error) : ""),
      () => setMistake("The arguments are not valid JSON."),
    );
  return (
    <section aria-label={`Approval of ${call.name}`} className={`${CARD} mx-4 mb-3 flex flex-col gap-3`}>
      <h2 className="font-semibold">
        May the agent call <code>{call.name}</code>?
      </h2>
      <textarea
        aria-label="Arguments"
        rows={written.split("\n").length}
        className={`${FIELD} rounded-lg p-2 font-mono text-sm`}
        value={text}
        onChange={(change) => setText(change.target.value)}
      />
      <div className="flex flex-wrap items-center gap-2">
        <button type="button" className={FIRST} onClick={() => send(approve)}>
          Approve
        </button>
        <Button name="Refuse" onPress={() => send(() => agent.refuse(call.tool_call_id))} />
        {call.expires_at && <small>Refused automatically at {new Date(call.expires_at).toLocaleString()}.</small>}
      </div>
      {mistake && (
        <div role="alert" className="text-red-700 dark:text-red-400">
          {mistake}
        </div>
      )}
    </section>
  );
}

function Failure({ error }: { error: AgentError }) {
  return (
    <p role="alert" className={`${ALERT} ${DARK_ALERT}`}>
      {explain(error)} ({error.code})
    </p>
  );
}

function Folded({ summary, children }: { summary: ReactNode; children: ReactNode }) {
  return (
    <details className={CARD}>
      <summary className="cursor-pointer font-medium">{summary}</summary>
      <div className="mt-2">{children}</div>
    </details>
  );
}

function Button({ name, onPress }: { name: string; onPress: () => unknown }) {
  return (
    <button type="button" className={SECOND} onClick={() => void onPress()}>
      {name}
    </button>
  );
}
