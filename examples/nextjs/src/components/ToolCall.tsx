"use client";

import { madeWith, type ToolCall as Call } from "agent-stream";
import { duration, pretty } from "@/lib/format";
import { Icon, Spinner } from "./icons";

/** A tool call: its state in one line, and folded below it the arguments and the result. */
export function ToolCall({ call, isUnderWay }: { call: Call; isUnderWay: boolean }) {
  const { name, progress, result } = call;
  const made = madeWith(call);
  return (
    <details className="group my-3 rounded-xl first:mt-0 border border-line bg-card text-sm">
      <summary className="flex items-center gap-2.5 rounded-xl px-3 py-2.5 hover:bg-hover">
        <StateIcon call={call} isUnderWay={isUnderWay} />
        <code className="shrink-0 font-mono text-[0.8125rem] font-semibold">{name}</code>
        <span className="min-w-0 flex-1 truncate font-mono text-xs text-soft">{made}</span>
        <span className="shrink-0 text-xs text-soft">{stateOf(call, isUnderWay)}</span>
        <Icon name="chevron" className="size-3.5 text-soft transition-transform group-open:rotate-90" />
      </summary>
      {!result && isUnderWay && progress?.total !== undefined && (
        <progress
          aria-label={progress.message ?? `Progress of ${name}`}
          value={progress.progress}
          max={progress.total}
          className="block h-1 w-full accent-accent"
        />
      )}
      <div className="space-y-3 border-t border-line p-3">
        <Field label="Arguments" text={pretty(made)} />
        {result && <Field label={result.is_error ? "Error" : "Result"} text={pretty(result.content)} />}
      </div>
    </details>
  );
}

function Field({ label, text }: { label: string; text: string }) {
  return (
    <div>
      <p className="mb-1 text-xs font-medium text-soft">{label}</p>
      <pre className="max-h-72 overflow-auto font-mono text-xs leading-5 whitespace-pre-wrap wrap-anywhere" tabIndex={0}>
        {text}
      </pre>
    </div>
  );
}

function StateIcon({ call: { approval_request, approval_response, result }, isUnderWay }: { call: Call; isUnderWay: boolean }) {
  if (result) {
    return <Icon name={result.is_error ? "warning" : "check"} className={result.is_error ? "size-4 text-bad" : "size-4 text-good"} />;
  }
  if (approval_request && !approval_response) return <Icon name="person" className="size-4 text-wait" />;
  return isUnderWay ? <Spinner className="size-4 text-accent" /> : <Icon name="tool" className="size-4 text-soft" />;
}

/** The state of a call in a few words. */
function stateOf({ approval_request, approval_response, progress, result }: Call, isUnderWay: boolean): string {
  if (result) {
    if (approval_response?.approved === false) return "denied";
    if (result.is_error) return "failed";
    return result.duration_ms === undefined ? "done" : duration(result.duration_ms);
  }
  if (!isUnderWay) return "stopped";
  if (progress) return progress.message ?? "running";
  if (approval_response) return approval_response.approved ? "approved" : "denied";
  return approval_request ? "needs approval" : "running";
}
