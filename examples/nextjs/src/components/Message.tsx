"use client";

import { isUnfinished, type Message as AgentMessage, type Part, textOf } from "agent-stream";
import { memo, type ReactNode } from "react";
import type { Facts } from "@/lib/useFacts";
import { cost, duration, pretty } from "@/lib/format";
import { CopyButton } from "./CopyButton";
import { ErrorNote } from "./ErrorNote";
import { IconButton } from "./IconButton";
import { Markdown } from "./Markdown";
import { Sources } from "./Sources";
import { Thinking } from "./Thinking";
import { ToolCall } from "./ToolCall";

interface MessageProps {
  message: AgentMessage;
  facts: Facts;
  /** Asks the question again. It is left out where that is not possible. */
  retry: (() => void) | undefined;
  showBranch: (runId: string) => void;
}

/** A question or an answer. An unchanged one is not rendered again while another one streams. */
export const Message = memo(function Message({ message, ...rest }: MessageProps) {
  return message.role === "user" ? (
    <Question message={message} showBranch={rest.showBranch} />
  ) : (
    <Answer message={message} {...rest} />
  );
}, hasSameProps);

function hasSameProps(before: MessageProps, after: MessageProps): boolean {
  const isSame = before.message === after.message && before.showBranch === after.showBranch;
  return isSame && before.retry === after.retry && JSON.stringify(before.facts) === JSON.stringify(after.facts);
}

function Question({ message, showBranch }: Pick<MessageProps, "message" | "showBranch">) {
  const { content, branches } = message;
  return (
    <article aria-label="You" className="mt-6 flex flex-col items-end">
      <div className="max-w-[85%] rounded-2xl rounded-br-md bg-accent-wash px-4 py-2.5 leading-7 whitespace-pre-wrap wrap-anywhere">
        {content !== null && textOf(content)}
      </div>
      {branches && (
        <div className="mt-1 flex items-center text-xs text-soft">
          <BranchButton label="Earlier version" icon="left" runId={branches.runIds[branches.index - 1]} show={showBranch} />
          <span>
            {branches.index + 1}/{branches.runIds.length}
          </span>
          <BranchButton label="Later version" icon="chevron" runId={branches.runIds[branches.index + 1]} show={showBranch} />
        </div>
      )}
    </article>
  );
}

interface BranchButtonProps {
  label: string;
  icon: "left" | "chevron";
  runId: string | undefined;
  show: (runId: string) => void;
}

function BranchButton({ label, icon, runId, show }: BranchButtonProps) {
  return <IconButton icon={icon} label={label} disabled={runId === undefined} onClick={() => runId && show(runId)} />;
}

function Answer({ message, facts, retry }: Omit<MessageProps, "showBranch">) {
  const { parts, content, attempts, sources, status, error } = message;
  const isUnderWay = isUnfinished(message);
  let thoughts = 0;
  return (
    <article aria-label="Agent" aria-busy={isUnderWay} className="mt-6 last:mb-6">
      {parts.map((part, place) => {
        const took = part.type === "thinking" ? facts.thoughts[thoughts++] : undefined;
        const isValue = attempts !== undefined && part.type === "text" && part.text === content;
        if (isValue) return <Value key={place} text={part.text} />;
        const isGrowing = isUnderWay && place === parts.length - 1;
        return <PartView key={place} part={part} isGrowing={isGrowing} isUnderWay={isUnderWay} took={took} />;
      })}
      {isUnderWay && status !== "waiting" && parts.at(-1)?.type !== "text" && <Dots />}
      {sources && <Sources sources={sources} />}
      {status === "cancelled" && <p className="my-3 text-sm text-soft">You stopped this answer.</p>}
      {status === "failed" && error && <ErrorNote error={error}>{retry && <RetryButton retry={retry} />}</ErrorNote>}
      {!isUnderWay && <Footer message={message} facts={facts} retry={error ? undefined : retry} />}
    </article>
  );
}

/** A structured answer: its JSON in lines, with each digit of its numbers. */
function Value({ text }: { text: string }) {
  return (
    <pre className="my-3 max-h-96 overflow-auto font-mono text-sm whitespace-pre-wrap wrap-anywhere" tabIndex={0}>
      {pretty(text)}
    </pre>
  );
}

interface PartViewProps {
  part: Part;
  isGrowing: boolean;
  isUnderWay: boolean;
  took: number | undefined;
}

function PartView({ part, isGrowing, isUnderWay, took }: PartViewProps): ReactNode {
  switch (part.type) {
    case "thinking":
      return <Thinking text={part.text} isGrowing={isGrowing} took={took} />;
    case "text":
      return <Markdown text={part.text} isGrowing={isGrowing} />;
    case "tool_call":
      return <ToolCall call={part.call} isUnderWay={isUnderWay} />;
  }
}

/** Three dots while there is nothing to read. */
function Dots() {
  return (
    <div aria-hidden className="my-3 flex animate-shimmer gap-1.5 py-2">
      {[0, 1, 2].map((dot) => (
        <span key={dot} className="size-1.5 rounded-full bg-soft" />
      ))}
    </div>
  );
}

function RetryButton({ retry }: { retry: () => void }) {
  return (
    <button
      type="button"
      onClick={retry}
      className="shrink-0 rounded-lg border border-line bg-page px-3 py-1.5 text-sm font-medium hover:bg-hover"
    >
      Try again
    </button>
  );
}

function Footer({ message, facts: { usage, durationMs }, retry }: Omit<MessageProps, "showBranch">) {
  const tokens = usage?.total_tokens;
  const facts = [
    tokens && `${tokens.toLocaleString("en")} tokens`,
    usage && cost(usage),
    durationMs !== undefined && duration(durationMs),
  ];
  return (
    <footer className="mt-2 -ml-2 flex items-center gap-0.5 text-soft">
      <CopyButton label="Copy the answer" text={() => textOf(message.content ?? "")} />
      {retry && <IconButton icon="retry" label="Answer again" onClick={retry} />}
      <span className="ml-2 text-xs">{facts.filter(Boolean).join(" · ")}</span>
    </footer>
  );
}
