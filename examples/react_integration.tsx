"use client";

/* Agent Stream in React. Copy this file into your app. It needs React 18 or newer and no other package.

     const { stream, isStreaming, thinking } = useAgentStream({ baseUrl: "http://127.0.0.1:8000" });

     await stream("Research AI", (event) => {
       if (event.event === "final_output") console.log(event.data.content);
     });

   `messages` is the conversation. Each answer has its `parts` (thinking, tool calls, text) in their order, and the
   status of its run. With `sessionId` the service keeps the conversation.

   A lost connection is resumed after the last event that was read, for as long as the service keeps the run. A question
   whose response was lost is sent again with the same key, which is the same run. A run that could not be read to its
   end has failed, never succeeded.

   A run can wait for hours and through reloads, without a connection. `pending` lists the calls that a person decides
   with `approve()` or `refuse()`. `clientTools` are tools that run in the page: the hook offers them to
   the model and makes their calls. */

import { memo, useEffect, useState, useSyncExternalStore, type CSSProperties } from "react";

// The contract: what the service sends and accepts. An optional key without a value is left out, never null.

export type ToolSource = "python" | "mcp" | "hosted" | "client";

/** Tokens counted by the model's server; null if it reports none. */
export interface Usage {
  input_tokens: number | null;
  output_tokens: number | null;
  total_tokens: number | null;
  reasoning_tokens?: number;
  cached_input_tokens?: number;
}

/** The data of each event, by the event's name. */
export interface EventData {
  run_started: { model: string; session_id?: string };
  step_started: { step: number; model: string };
  thinking: { content: string };
  partial_output: { content: string };
  tool_use_delta: { tool_call_id: string; name: string; arguments_delta: string; source: ToolSource; server?: string };
  tool_use: {
    tool_call_id: string;
    name: string;
    arguments: Record<string, unknown>;
    source: ToolSource;
    server?: string;
    invalid_arguments?: string;
  };
  approval_request: { tool_call_id: string; name: string; arguments: Record<string, unknown>; expires_at: string };
  waiting: { pending: { tool_call_id: string; name: string; kind: "approval" | "client" }[] };
  approval_response: { tool_call_id: string; approved: boolean; arguments?: Record<string, unknown>; reason?: string };
  tool_progress: { tool_call_id: string; message?: string; progress?: number; total?: number };
  tool_result: {
    tool_call_id: string;
    name: string;
    content: string;
    is_error: boolean;
    duration_ms?: number;
    truncated: boolean;
  };
  step_finished: { step: number; model: string; finish_reason: string; usage: Usage };
  warning: { code: string; message: string };
  final_output: { content: string };
  error: { code: string; message: string; retryable: boolean; request_id: string; retry_after?: number };
  complete: {
    status: "succeeded" | "failed" | "cancelled";
    finish_reason?: string;
    usage: Usage;
    steps: number;
    duration_ms: number;
    time_to_first_token_ms?: number;
  };
}

/** An event of a run. `seq` counts 1, 2, 3 …; `complete` is the last. Switch on `event`, and `data` has its type. */
export type StreamEvent = {
  [Name in keyof EventData]: { event: Name; data: EventData[Name]; run_id: string; seq: number; timestamp: string };
}[keyof EventData];

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type Complete = EventData["complete"];
export type Content = string | ({ type: "text"; text: string } | { type: "image"; url: string })[];

/** One question to the agent. */
export interface AgentRequest {
  input: Content;
  model?: string;
  tools?: string[];
  client_tools?: { name: string; description?: string; parameters?: Record<string, unknown> }[];
  mcp_servers?: (string | { name?: string; url?: string; run: "local" })[];
  require_approval?: string[];
  instructions?: string;
  messages?: { role: "system" | "user" | "assistant"; content: Content }[];
  max_steps?: number;
  temperature?: number;
  top_p?: number;
  max_tokens?: number;
  reasoning_effort?: "none" | "minimal" | "low" | "medium" | "high" | "xhigh";
  stop?: string | string[];
  seed?: number;
  response_format?: Record<string, unknown>;
  metadata?: Record<string, string>;
  on_disconnect?: "cancel" | "continue";
  session_id?: string;
  parent_run_id?: string;
  parent_state?: "before" | "after";
  multitask?: "reject" | "enqueue" | "interrupt";
}

/** A question for the hook. A key that is undefined counts as left out. */
export type Question = { [Key in keyof AgentRequest]: AgentRequest[Key] | undefined } & Pick<AgentRequest, "input">;

/** A message of a session. A run's messages follow its question. `parent_id` is the message before it on its branch. */
export interface SessionMessage {
  message_id: string;
  parent_id?: string;
  run_id: string;
  role: "user" | "assistant" | "tool";
  content: Content | null;
  thinking?: string;
  tool_calls?: {
    tool_call_id: string;
    name: string;
    arguments: Record<string, unknown>;
    source?: ToolSource;
    server?: string;
    result?: string;
    is_error?: boolean;
  }[];
  tool_call_id?: string;
  is_error?: boolean;
  status: RunStatus;
  error?: EventData["error"];
}

export type RunStatus = "queued" | "running" | "waiting" | "succeeded" | "failed" | "cancelled";

/** An error. `code` is one of the service's, or of the hook's: `network`, `incomplete`, `http_…`, `callback`. */
export interface AgentError {
  code: string;
  message: string;
  retryable: boolean;
  request_id?: string;
  retry_after?: number;
  /** The run that is in the way, if there is one (`session_busy`). */
  run_id?: string;
  details?: { loc: string; message: string }[];
}

// The wire: bytes in, events out.

interface Frame {
  data: string;
  retry: number;
}

/** Returns a function that parses bytes into frames, however they are cut. Comments and unfinished frames are skipped. */
export function frameParser(): (bytes: Uint8Array) => Frame[] {
  const decoder = new TextDecoder();
  let rest = "";
  let data: string[] = [];
  let retry = 0;
  return (bytes) => {
    const frames: Frame[] = [];
    const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines.map((ended) => ended.replace(/\r$/, ""))) {
      const [, field, value = ""] = /^([^:]*):? ?([^]*)$/.exec(line) ?? [];
      if (field === "data") data.push(value);
      if (field === "retry") retry = Number(value) || 0;
      if (line !== "") continue;
      if (data.length > 0 || retry > 0) frames.push({ data: data.join("\n"), retry });
      data = [];
      retry = 0;
    }
    return frames;
  };
}

/** The result of one read: the new events, and how long the service asks the client to wait before it reconnects. */
interface Batch {
  events: StreamEvent[];
  retryMs: number;
}

/** Reads a body's events after `lastSeq`. A connection that is silent for `silenceMs` counts as lost. */
class EventReader {
  private readonly reader: ReadableStreamDefaultReader<Uint8Array>;
  private lastSeq: number;
  private readonly silenceMs: number;
  private readonly signal: AbortSignal;

  constructor(body: ReadableStream<Uint8Array>, lastSeq: number, silenceMs: number, signal: AbortSignal) {
    this.reader = body.getReader();
    this.lastSeq = lastSeq;
    this.silenceMs = silenceMs;
    this.signal = signal;
  }

  close = (): void => void this.reader.cancel().catch(() => {}); // a torn body can't be cancelled

  /** A batch for each read, until the body ends, breaks or is closed, or the signal aborts. */
  async *batches(): AsyncGenerator<Batch> {
    const parse = frameParser();
    this.signal.addEventListener("abort", this.close);
    if (this.signal.aborted) this.close();
    let heard = Date.now();
    let silence = setTimeout(this.close, this.silenceMs);
    // While the computer slept no timer ran. After four fifths of the silence at least one heartbeat is missing.
    const forget = onWake(() => Date.now() - heard > this.silenceMs * 0.8 && this.close());
    try {
      for (let read = await this.reader.read(); !read.done; read = await this.reader.read()) {
        clearTimeout(silence);
        heard = Date.now();
        yield this.batch(parse(read.value));
        silence = setTimeout(this.close, this.silenceMs);
      }
    } catch {
      // The connection broke, or something on the way wrote into the stream: the rest is read by another connection.
    } finally {
      clearTimeout(silence);
      forget();
      this.signal.removeEventListener("abort", this.close);
      this.close();
    }
  }

  private batch(frames: Frame[]): Batch {
    const events: StreamEvent[] = [];
    for (const { data } of frames) {
      if (data === "") continue;
      const event = JSON.parse(data) as StreamEvent;
      if (event.seq <= this.lastSeq) continue;
      this.lastSeq = event.seq;
      events.push(event);
    }
    return { events, retryMs: frames.findLast(({ retry }) => retry > 0)?.retry ?? 0 };
  }
}

type EventStream = Response & { body: ReadableStream<Uint8Array> };

function isStream(response: Response): response is EventStream {
  return response.ok && isEvents(response) && response.body !== null;
}

function isEvents(response: Response): boolean {
  return !!response.headers.get("Content-Type")?.startsWith("text/event-stream");
}

// Failures

class RunFailure extends Error {
  readonly error: AgentError;
  /** Whether another try is useless. */
  readonly isFinal: boolean;
  /** Whether the service no longer has the run. */
  readonly isGone: boolean;

  constructor(error: AgentError, { isFinal = false, isGone = false } = {}) {
    super(error.message);
    this.error = error;
    this.isFinal = isFinal;
    this.isGone = isGone;
  }
}

const incomplete = () =>
  new RunFailure({ code: "incomplete", message: "The rest of the answer could not be read.", retryable: true });

function unreachable(url: string): RunFailure {
  const message =
    `No response from ${url || window.location.origin}. Usual causes: the service does not run there or does not ` +
    "allow this page's origin (CORS_ORIGINS), or other tabs use all six connections that a browser opens to one address.";
  return new RunFailure({ code: "network", message, retryable: true });
}

/**
 * Returns the failure that a response reports in JSON, or in the first frame of a refused stream. Only the service itself
 * can report that a run is gone. An error page of a proxy is an outage, except as the response to a question.
 */
async function refusal(response: Response, isQuestion = false): Promise<RunFailure> {
  const bytes = await response.arrayBuffer().catch(() => new ArrayBuffer(0));
  const { status } = response;
  const seconds = retryAfter(response) / 1000;
  const reported = errorIn(isEvents(response), new Uint8Array(bytes));
  const error = reported ?? {
    code: `http_${status}`,
    message: `The response (HTTP ${status}) is not a stream of events.`,
    retryable: status >= 500,
  };
  const mayPass = status === 429 || status >= 500;
  const isGone = reported !== null && (status === 404 || status === 410);
  const about = { isFinal: !mayPass && (reported !== null || isQuestion), isGone };
  return new RunFailure(seconds > 0 ? { ...error, retry_after: seconds } : error, about);
}

function errorIn(isEvents: boolean, bytes: Uint8Array): AgentError | null {
  try {
    const text = isEvents ? (frameParser()(bytes)[0]?.data ?? "") : new TextDecoder().decode(bytes);
    const { error, data } = JSON.parse(text) as { error?: AgentError; data?: AgentError };
    const failure = error ?? data;
    return typeof failure?.code === "string" ? failure : null;
  } catch {
    return null;
  }
}

function retryAfter(response: Response): number {
  return Number(response.headers.get("Retry-After")) * 1000 || 0;
}

// Time

/** The service writes at least this often (HEARTBEAT_S). After 2.5 times as long without a byte, a connection is lost. */
const HEARTBEAT_S = 4;
const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 10_000;
const LONGEST_TIMER_MS = 2 ** 31 - 1;
/** After this time without a response, the state has an error, and the hook asks other tabs for a connection. */
const PATIENCE_MS = 2_000;
/** Characters of a request that a slow line sends in a millisecond. Images in a request take that much longer. */
const SLOWEST_UPLOAD = 16;
/** How long a tab stays without its connection after it has closed it for another tab. */
const YIELD_MS = 5_000;
/** A state is shown at most this often: rendering costs more than reading. */
const RENDER_MS = 50;
/** How often a visible page without a run checks for a question of another page in its session. */
const LOOK_MS = 10_000;
const QUESTION_RETRIES = 5;

/** The delay after a number of failures: exponential, capped, and random, because all clients lost the service at once. */
function retryDelay(failures: number): number {
  return Math.min(FIRST_DELAY_MS * 2 ** failures, LONGEST_DELAY_MS) * (0.5 + Math.random() / 2);
}

/** Calls `listener` when the page is online, visible or restored again. Returns a function that stops this. */
function onWake(listener: () => void): () => void {
  const becameVisible = () => document.visibilityState === "visible" && listener();
  const restored = ({ persisted }: PageTransitionEvent) => persisted && listener();
  window.addEventListener("online", listener);
  window.addEventListener("pageshow", restored);
  document.addEventListener("visibilitychange", becameVisible);
  return () => {
    window.removeEventListener("online", listener);
    window.removeEventListener("pageshow", restored);
    document.removeEventListener("visibilitychange", becameVisible);
  };
}

/** Resolves after that time, or when the signal aborts. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener("abort", end);
    if (signal.aborted) end();
  });
}

/** Like `pause`, but returns true earlier if the page wakes up or the function passed to `expose` is called. */
async function rest(ms: number, signal: AbortSignal, expose?: (wake: () => void) => void): Promise<boolean> {
  const woken = new AbortController();
  const wake = () => woken.abort();
  const forget = onWake(wake);
  signal.addEventListener("abort", wake);
  expose?.(wake);
  if (!signal.aborted) await pause(ms, woken.signal);
  signal.removeEventListener("abort", wake);
  forget();
  return woken.signal.aborted;
}

// The state: events in, the data for a page out.

export type AgentStatus = "idle" | "connecting" | "streaming" | "waiting" | "reconnecting" | Complete["status"];

/** A tool call so far. `arguments` is set once the call is complete, `result` once it has ended. */
export interface ToolCall {
  tool_call_id: string;
  name: string;
  source: ToolSource;
  server?: string;
  arguments_text: string;
  arguments?: Record<string, unknown>;
  /** The person's decision is due by `expires_at`. */
  approval_request?: EventData["approval_request"];
  approval_response?: EventData["approval_response"];
  progress?: EventData["tool_progress"];
  result?: EventData["tool_result"];
}

/** A call that the run waits for: answered by `approve` or `refuse`, or by `sendToolResult` or `clientTools`. */
export interface PendingCall {
  tool_call_id: string;
  name: string;
  kind: "approval" | "client";
  arguments: Record<string, unknown>;
  /** When the service refuses an approval by itself: UTC, RFC 3339. */
  expires_at?: string;
}

/** A piece of an answer. */
export type Part =
  { type: "thinking"; text: string } | { type: "text"; text: string } | { type: "tool_call"; call: ToolCall };

/** A question, or the whole answer of a run, which may still be under way. */
export interface Message {
  message_id: string;
  /** Empty for a question until the service has accepted it. */
  run_id: string;
  role: "user" | "assistant";
  /** The question's content, or the text of the answer's last model turn so far. */
  content: Content | null;
  /** The pieces of an answer, in order. A question has none. */
  parts: Part[];
  status: RunStatus;
  error?: AgentError;
}

export interface RunState {
  /** The session's conversation. Without a session, the latest question and its answer. */
  messages: Message[];
  status: AgentStatus;
  runId: string | null;
  /** Whether this page makes the calls of its tools, because it asked the question or attached itself to the run. */
  isOurs: boolean;
  pending: PendingCall[];
  /** Why the run failed; while `status` is `connecting` or `reconnecting`, why the service can't be reached. */
  error: AgentError | null;
}

const IDLE: RunState = { messages: [], status: "idle", runId: null, isOurs: false, pending: [], error: null };

const answerId = (runId: string) => `${runId}/answer`;

function emptyAnswer(runId: string): Message {
  return { message_id: answerId(runId), run_id: runId, role: "assistant", content: null, parts: [], status: "running" };
}

/** The answer of a run, if there is one. */
function answerOf({ messages }: RunState, runId: string | null): Message | undefined {
  return runId === null ? undefined : messages.findLast(({ message_id }) => message_id === answerId(runId));
}

/** The state with a new version of a run's answer. The run's other messages stay before it and get its status. */
function withAnswer(state: RunState, answer: Message): RunState {
  const { run_id, status } = answer;
  const messages = state.messages
    .filter(({ message_id }) => message_id !== answer.message_id)
    .map((message) => (message.run_id === run_id && message.status !== status ? { ...message, status } : message));
  const place = messages.findLastIndex((message) => message.run_id === run_id) + 1;
  messages.splice(place || messages.length, 0, answer);
  return { ...state, messages };
}

/** The state with this status of a question that has no answer yet. */
function withoutAnswer(state: RunState, questionId: string, status: RunStatus): RunState {
  const messages = state.messages.map((message) =>
    message.message_id === questionId ? { ...message, status } : message,
  );
  return { ...state, messages };
}

/** The state after events of a run. They are folded together, because a copy of the messages for each costs too much. */
function fold(state: RunState, runId: string, events: StreamEvent[]): RunState {
  const { status, pending, error } = state;
  const before = { answer: answerOf(state, runId) ?? emptyAnswer(runId), status, pending, error };
  const { answer, ...after } = events.reduce(foldEvent, before);
  return withAnswer({ ...state, ...after }, answer);
}

type Progress = Pick<RunState, "status" | "pending" | "error"> & { answer: Message };

function foldEvent(progress: Progress, event: StreamEvent): Progress {
  const { answer, pending } = progress;
  switch (event.event) {
    case "step_started":
      return { ...progress, answer: { ...answer, content: "" } };
    case "thinking":
      return { ...progress, answer: { ...answer, parts: withThinking(answer.parts, event.data.content) } };
    case "partial_output":
      return { ...progress, answer: withMoreText(answer, event.data.content) };
    case "final_output":
      return { ...progress, answer: withText(answer, event.data.content) };
    case "tool_use_delta":
    case "tool_use":
    case "approval_request":
    case "tool_progress":
      return { ...progress, answer: withCall(answer, event) };
    case "waiting":
      return {
        ...progress,
        answer: { ...answer, status: "waiting" },
        status: "waiting",
        pending: event.data.pending.map((call) => pendingCall(answer, call)),
      };
    case "approval_response":
    case "tool_result": {
      const left = pending.filter(({ tool_call_id }) => tool_call_id !== event.data.tool_call_id);
      const goesOn = progress.status === "waiting" && left.length === 0;
      const resumed = goesOn ? ({ ...answer, status: "running" } as const) : answer;
      const status = goesOn ? "streaming" : progress.status;
      return { ...progress, answer: withCall(resumed, event), pending: left, status };
    }
    case "error":
      return { ...progress, answer: { ...answer, error: event.data }, error: event.data };
    case "complete": {
      const { status } = event.data;
      const { run_id, content, parts, error } = answer; // an error of an earlier connection no longer applies
      const isFailed = status === "failed" && error !== undefined;
      const ended = { ...emptyAnswer(run_id), content, parts, status, ...(isFailed && { error }) };
      return { answer: ended, status, pending: [], error: isFailed ? error : null };
    }
    default:
      return progress;
  }
}

function withThinking(parts: Part[], content: string): Part[] {
  const last = parts.at(-1);
  if (last?.type !== "thinking") return [...parts, { type: "thinking", text: content }];
  return [...parts.slice(0, -1), { type: "thinking", text: last.text + content }];
}

/** The answer with more text of the current step. Parts since its last piece of text stay before it. */
function withMoreText(answer: Message, more: string): Message {
  const { content, parts } = answer;
  const last = parts.at(-1);
  const isSame = content && last?.type === "text"; // else it is the first of its step, or follows something else
  const part: Part = { type: "text", text: isSame ? last.text + more : more };
  return { ...answer, content: (content ?? "") + more, parts: [...(isSame ? parts.slice(0, -1) : parts), part] };
}

/** The answer with a new text of the current step. */
function withText(answer: Message, text: string): Message {
  if (text === answer.content) return answer;
  const place = answer.content ? answer.parts.findLastIndex(({ type }) => type === "text") : -1;
  const part: Part = { type: "text", text };
  const { parts } = answer;
  if (place >= 0) return { ...answer, content: text, parts: parts.with(place, part) };
  return { ...answer, content: text, parts: text === "" ? parts : [...parts, part] };
}

type ToolEvent = Extract<StreamEvent, { event: `tool_${string}` | `approval_${string}` }>;

function withCall(answer: Message, event: ToolEvent): Message {
  const id = event.data.tool_call_id;
  const { parts } = answer;
  const place = parts.findLastIndex((part) => part.type === "tool_call" && part.call.tool_call_id === id);
  const known = parts[place];
  const before: ToolCall =
    known?.type === "tool_call" ? known.call : { tool_call_id: id, name: "", source: "python", arguments_text: "" };
  const part: Part = { type: "tool_call", call: foldCall(before, event) };
  return { ...answer, parts: known ? parts.with(place, part) : [...parts, part] };
}

function foldCall(call: ToolCall, event: ToolEvent): ToolCall {
  switch (event.event) {
    case "tool_use_delta": {
      const { arguments_delta, ...about } = event.data;
      return { ...call, ...about, arguments_text: call.arguments_text + arguments_delta };
    }
    case "tool_use": {
      const { invalid_arguments, ...about } = event.data;
      return { ...call, ...about, arguments_text: invalid_arguments ?? JSON.stringify(about.arguments) };
    }
    case "approval_request":
      return { ...call, approval_request: event.data };
    case "approval_response":
      return { ...call, approval_response: event.data };
    case "tool_progress":
      return { ...call, progress: event.data };
    case "tool_result":
      return { ...call, result: event.data };
  }
}

const callsIn = (parts: Part[]): ToolCall[] => parts.flatMap((part) => (part.type === "tool_call" ? [part.call] : []));

function pendingCall({ parts }: Message, call: EventData["waiting"]["pending"][number]): PendingCall {
  const known = callsIn(parts).find(({ tool_call_id }) => tool_call_id === call.tool_call_id);
  return {
    ...call,
    arguments: known?.arguments ?? {},
    ...(known?.approval_request && { expires_at: known.approval_request.expires_at }),
  };
}

// The messages of a session, as questions and whole answers

const isUnfinished = ({ status }: { status: RunStatus }) => ["queued", "running", "waiting"].includes(status);

/** The conversation. An answer that this page has read stays unchanged, because the service doesn't store all of it. */
function conversation(stored: SessionMessage[], read: ReadonlyMap<string, Message>): Message[] {
  const runs = new Map<string, SessionMessage[]>();
  for (const message of stored) runs.set(message.run_id, [...(runs.get(message.run_id) ?? []), message]);
  return [...runs].flatMap(([runId, ofRun]) => {
    const questions = ofRun.filter(({ role }) => role === "user");
    const shown = questions.map(({ message_id, content, status }): Message => {
      return { message_id, run_id: runId, role: "user", content, parts: [], status };
    });
    const last = ofRun.at(-1);
    return last && !isUnfinished(last) ? [...shown, read.get(runId) ?? storedAnswer(ofRun, last)] : shown;
  });
}

/** The answer of a run that has ended, from its messages. A run that failed early has only its question. */
function storedAnswer(ofRun: SessionMessage[], { run_id, status, error }: SessionMessage): Message {
  const said = ofRun.filter(({ role }) => role === "assistant");
  return {
    ...emptyAnswer(run_id),
    content: said.at(-1)?.content ?? null,
    parts: said.flatMap(storedParts),
    status,
    ...(error && { error }),
  };
}

function storedParts({ thinking, content, tool_calls = [] }: SessionMessage): Part[] {
  const text = content === null ? "" : textOf(content);
  return [
    ...(thinking ? [{ type: "thinking", text: thinking } as const] : []),
    ...(text ? [{ type: "text", text } as const] : []),
    ...tool_calls.map((call) => ({ type: "tool_call", call: storedCall(call) }) as const),
  ];
}

function storedCall(stored: NonNullable<SessionMessage["tool_calls"]>[number]): ToolCall {
  const { result, is_error = false, source = "python", ...call } = stored;
  const { tool_call_id, name } = call;
  return {
    ...call,
    source,
    arguments_text: JSON.stringify(call.arguments),
    ...(result !== undefined && { result: { tool_call_id, name, content: result, is_error, truncated: false } }),
  };
}

/** A message's content as text, with the URLs of its images. */
export function textOf(content: Content): string {
  if (typeof content === "string") return content;
  return content.map((part) => (part.type === "text" ? part.text : part.url)).join("\n");
}

// The hook.

/** A tool that runs in the page. `parameters` is the JSON schema of its arguments, which are an object. */
export interface ClientTool {
  description?: string | undefined;
  parameters?: Record<string, unknown> | undefined;
  /** Returns text or a JSON value. An exception is reported to the model as the call's error. */
  run: (args: Record<string, unknown>) => unknown;
}

export interface AgentStreamOptions {
  /** The URL of the service; "" is the page's own origin. */
  baseUrl?: string | undefined;
  /** The route that starts a run. A route of your own has to pass on the Idempotency-Key. */
  path?: string | undefined;
  /**
   * The conversation. A new id begins one. The hook follows a run of it that is under way, whichever page has started it,
   * when the component appears and when the page becomes visible.
   */
  sessionId?: string | undefined;
  /** Headers for each request, such as Authorization. */
  headers?: Record<string, string> | undefined;
  /**
   * How often in a row to try again without receiving anything new. By default, a question is sent up to five more times,
   * and a run that has started is followed for as long as the service keeps it.
   */
  maxRetries?: number | undefined;
  /** The service's HEARTBEAT_S, by default 4. A connection without a byte for 2.5 of them is replaced. */
  heartbeatS?: number | undefined;
  /**
   * The key in sessionStorage for the id of a run under way, one for each session. With it, a reloaded page follows its run
   * again and replays it from the start.
   */
  storageKey?: string | undefined;
  /**
   * Tools that the page runs, by name. They are sent with each question that has no `client_tools` of its own. The page that
   * asked makes each of their calls once, also if it is reloaded meanwhile (with `storageKey`). Another page that follows
   * the run shows them in `pending`.
   */
  clientTools?: Record<string, ClientTool> | undefined;
}

export type OnEvent = (event: StreamEvent) => void;

/** A run that is followed here. */
class Run {
  id: string | null;
  readonly key = newKey();
  /** The request that starts the run; null for a run that has already started. */
  readonly asked: AgentRequest | null;
  /** Whether this page makes the calls of its tools. */
  readonly isOurs: boolean;
  readonly onEvent: OnEvent | undefined;
  /** The arguments of its calls, by their id. */
  readonly calls = new Map<string, Record<string, unknown>>();
  lastSeq = 0;
  /** Whether there has been a connection to its events. */
  wasConnected = false;
  /** Whether `complete` was read, the run was stopped, or the service no longer has it. */
  isOver = false;
  /** Whether the service has lost or deleted it. */
  isGone = false;
  /** The reader that reads it, or the last one that did. */
  reader: RunReader | null = null;

  constructor(about: { id?: string; asked?: AgentRequest; isOurs: boolean; onEvent?: OnEvent | undefined }) {
    this.id = about.id ?? null;
    this.asked = about.asked ?? null;
    this.isOurs = about.isOurs;
    this.onEvent = about.onEvent;
  }

  get path(): string {
    return `/api/agent/runs/${encodeURIComponent(this.id ?? "")}`;
  }
}

/** A random key. (crypto.randomUUID exists only on HTTPS and localhost.) */
function newKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The state and its listeners. It reports a change of status at once, and other changes at most every RENDER_MS. */
class View {
  state = IDLE;
  private shown = IDLE;
  private shownAt = -RENDER_MS;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly listeners = new Set<() => void>();

  get = (): RunState => this.shown;

  subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  change(change: (state: RunState) => RunState): void {
    this.state = change(this.state);
    const early = this.shownAt + RENDER_MS - performance.now();
    if (early <= 0 || this.state.status !== this.shown.status) this.show();
    else this.timer ??= setTimeout(this.show, early);
  }

  private show = (): void => {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.shownAt = performance.now();
    this.shown = this.state;
    for (const listener of this.listeners) listener();
  };
}

interface Call extends RequestInit {
  signal?: AbortSignal;
  /** Called repeatedly while there is no response. */
  onSlow?: () => void;
}

/** Sends requests to the service. A visible tab without a response asks the other tabs for a connection. */
class Service {
  options: AgentStreamOptions;
  private tabs: BroadcastChannel | null = null;

  constructor(options: AgentStreamOptions) {
    this.options = options;
  }

  get url(): string {
    return (this.options.baseUrl ?? "http://127.0.0.1:8000").replace(/\/+$/, "");
  }

  get silenceMs(): number {
    return (this.options.heartbeatS ?? HEARTBEAT_S) * 2500;
  }

  /**
   * Resolves with the response once its head has arrived. Rejects if the signal aborts before that, or after `silenceMs`
   * and the time that a slow line needs for the body.
   */
  async request(path: string, { signal, onSlow, ...init }: Call = {}): Promise<Response> {
    const leaving = new AbortController();
    const leave = () => leaving.abort();
    const uploadMs = typeof init.body === "string" ? init.body.length / SLOWEST_UPLOAD : 0;
    const late = setTimeout(leave, this.silenceMs + uploadMs);
    const slow = setInterval(() => {
      onSlow?.();
      if (document.visibilityState === "visible") this.tabs?.postMessage(this.url);
    }, PATIENCE_MS);
    signal?.addEventListener("abort", leave);
    if (signal?.aborted) leave();
    try {
      const headers = { ...this.options.headers, ...(init.headers as Record<string, string>) };
      return await fetch(this.url + path, { ...init, headers, cache: "no-store", signal: leaving.signal });
    } finally {
      signal?.removeEventListener("abort", leave);
      clearTimeout(late);
      clearInterval(slow);
    }
  }

  post(path: string, body: object, { headers, ...call }: Call = {}): Promise<Response> {
    const json = { "Content-Type": "application/json", ...(headers as Record<string, string>) };
    return this.request(path, { ...call, method: "POST", headers: json, body: JSON.stringify(body) });
  }

  /**
   * Calls `giveWay` when another tab needs a connection: in each hidden tab, and in about one of six visible ones.
   * Returns a function that stops this.
   */
  share(giveWay: () => void): () => void {
    if (!("BroadcastChannel" in window)) return () => {};
    const tabs = new BroadcastChannel("agent-stream");
    tabs.onmessage = ({ data }) => {
      const isChosen = document.visibilityState === "hidden" || Math.random() < 1 / 6;
      if (data === this.url && isChosen) giveWay();
    };
    this.tabs = tabs;
    return () => {
      this.tabs = null;
      tabs.close();
    };
  }
}

/** The part of the page that a RunReader uses. */
interface RunPage {
  /** Whether the run is the one that the page shows. */
  isCurrent: () => boolean;
  /** Whether the run waits for answers. */
  isWaiting: () => boolean;
  change: (change: (state: RunState) => RunState) => void;
  /** Called with the run's id as soon as it is known. */
  learn: (runId: string) => void;
  /** Called with new events. Returns the data of `complete`. */
  take: (events: StreamEvent[]) => Complete | null;
  /** Makes the calls of the page's tools that the run waits for. */
  makeCalls: () => void;
}

/** Reads a run to its end, over as many connections as necessary, and without one while the run waits. */
class RunReader {
  /** The latest request for a stream. After the first response, the run's id is known. */
  opening: Promise<unknown> = Promise.resolve();
  /** Closes the connection for a while, because another tab needs one. */
  giveWay = (): void => {};
  private readonly service: Service;
  private readonly run: Run;
  private readonly page: RunPage;
  private readonly leaving = new AbortController();
  /** Connections in a row that brought nothing new. */
  private failures = 0;
  /** How long the service asks the client to wait before it reconnects. */
  private awayMs = 0;
  private isResting = false;
  private resumed: EventStream | null = null;
  private isWoken = false;
  private endRest = (): void => {};

  constructor(service: Service, run: Run, page: RunPage) {
    this.service = service;
    this.run = run;
    this.page = page;
  }

  get signal(): AbortSignal {
    return this.leaving.signal;
  }

  /** Stops reading. The run itself continues. */
  leave(): void {
    this.leaving.abort();
  }

  /** Ends the current pause, or else the next one. */
  wake(): void {
    this.isWoken = true;
    this.endRest();
  }

  /** Accepts the stream in the response to an answer. One is enough. */
  resume(stream: EventStream): void {
    if (!this.isResting || this.resumed) void stream.body.cancel();
    else this.resumed = stream;
    this.wake();
  }

  /** Resolves with the data of `complete`, or with null if the page has left the run. Throws a RunFailure. */
  async read(): Promise<Complete | null> {
    let complete: Complete | null = null;
    while (!complete && this.page.isCurrent() && !this.signal.aborted) {
      const resumed = this.page.isWaiting() ? await this.untilResumed() : null;
      const stream = resumed ?? (await this.connect());
      if (this.signal.aborted) void stream?.body.cancel();
      else if (stream) complete = await this.readStream(stream);
    }
    return complete;
  }

  /** Opens a stream of the events after the last one read. Tries again until it succeeds or another try is useless. */
  private async connect(): Promise<EventStream | null> {
    while (!this.signal.aborted) {
      if (this.awayMs > 0) await pause(this.awayMs, this.signal);
      if (this.failures > 0) await this.rest(retryDelay(this.failures - 1));
      if (this.signal.aborted) break;
      try {
        return await this.open();
      } catch (cause) {
        if (this.signal.aborted) break;
        if (!(cause instanceof RunFailure) || cause.isFinal) throw cause;
        this.countFailure(cause);
        this.page.change((state) => ({ ...state, error: cause.error }));
      }
    }
    return null;
  }

  private async open(): Promise<EventStream> {
    const failure = unreachable(this.service.url);
    const onSlow = () => this.page.change((state) => ({ ...state, error: failure.error }));
    const call = { signal: this.signal, onSlow };
    const opening = this.run.id === null ? this.start(call) : this.attach(call);
    this.opening = opening;
    const response = await opening.catch(() => Promise.reject(failure));
    if (isStream(response)) return response;
    this.awayMs = retryAfter(response);
    if (response.status === 204) throw new RunFailure(incomplete().error, { isFinal: true });
    const isQuestion = this.run.id === null;
    const refused = await refusal(response, isQuestion);
    // An error of the service itself is final for a question, unless it says when to try again.
    const isAnswer = isQuestion && this.awayMs === 0 && !refused.error.code.startsWith("http_");
    throw isAnswer ? new RunFailure(refused.error, { isFinal: true }) : refused;
  }

  private async start(call: Call): Promise<Response> {
    const headers = { Accept: "application/json", "Idempotency-Key": this.run.key }; // refusals in JSON have details
    const path = this.service.options.path ?? "/api/agent/stream";
    const response = await this.service.post(path, this.run.asked ?? {}, { ...call, headers });
    const id = response.headers.get("X-Run-ID");
    if (isStream(response) && id) this.page.learn(id);
    return response;
  }

  private attach(call: Call): Promise<Response> {
    const headers = { Accept: "text/event-stream", "Last-Event-ID": String(this.run.lastSeq) };
    return this.service.request(`${this.run.path}/events`, { ...call, headers });
  }

  private countFailure(failure: RunFailure): void {
    const { maxRetries = this.run.id ? Infinity : QUESTION_RETRIES } = this.service.options;
    if (this.failures >= maxRetries) throw failure;
    this.failures += 1;
    const status = this.run.wasConnected ? "reconnecting" : "connecting";
    this.page.change((state) => ({ ...state, status }));
  }

  /** Reads one connection. Returns `complete`, or null when another connection is needed or the run waits. */
  private async readStream({ body }: EventStream): Promise<Complete | null> {
    this.run.wasConnected = true;
    this.awayMs = 0;
    this.page.change(connected);
    const reader = new EventReader(body, this.run.lastSeq, this.service.silenceMs, this.signal);
    let gaveWay = false;
    this.giveWay = () => {
      gaveWay = true;
      reader.close();
    };
    for await (const { events, retryMs } of reader.batches()) {
      this.awayMs = retryMs || this.awayMs;
      if (events.length > 0) this.failures = 0;
      const complete = this.page.take(events);
      if (complete || this.page.isWaiting() || !this.page.isCurrent()) return complete;
    }
    if (gaveWay) await this.rest(YIELD_MS);
    else if (this.page.isCurrent() && !this.signal.aborted) this.countFailure(incomplete());
    return null;
  }

  /**
   * Waits without a connection until the run has resumed, because a browser has six connections for all tabs. Resolves with
   * the stream in the response to an answer of this page, or with null if the answer came from elsewhere.
   */
  private async untilResumed(): Promise<EventStream | null> {
    this.isResting = true;
    if (!(await this.hasGoneOn())) {
      this.page.makeCalls();
      await this.untilLooked();
    }
    this.isResting = false;
    const stream = this.resumed;
    this.resumed = null;
    return stream;
  }

  /** Checks from time to time, while the page is visible, for an answer from elsewhere. */
  private async untilLooked(): Promise<void> {
    for (let looks = 0; ; looks += 1) {
      const isHidden = document.visibilityState === "hidden";
      if (await this.rest(isHidden ? LONGEST_TIMER_MS : retryDelay(looks))) looks = -1;
      if (this.resumed || this.signal.aborted || (await this.hasGoneOn())) return;
    }
  }

  /** Gets the run. If that fails, the next check tries again. */
  private async hasGoneOn(): Promise<boolean> {
    const look = this.service.request(this.run.path, { signal: this.signal });
    const response = await look.catch(() => null);
    if (response?.ok) {
      const run = (await response.json().catch(() => null)) as { last_seq: number } | null;
      return run !== null && run.last_seq > this.run.lastSeq;
    }
    const failure = response && (await refusal(response));
    if (failure?.isGone) throw failure;
    return false;
  }

  private async rest(ms: number): Promise<boolean> {
    const wasWoken = this.isWoken || (await rest(ms, this.signal, (end) => (this.endRest = end)));
    this.isWoken = false;
    return wasWoken;
  }
}

function connected(state: RunState): RunState {
  const error = state.error?.code === "network" ? null : state.error;
  return { ...state, status: state.pending.length > 0 ? "waiting" : "streaming", error };
}

/** The outcome of a call of a page's tool. */
interface Outcome {
  content: Json;
  is_error: boolean;
}

/** The calls that this page has made, by run and call, for all components. */
const made = new Map<string, Promise<Outcome>>();

const failed = (content: string): Outcome => ({ content, is_error: true });

async function outcomeOf(tool: ClientTool, args: Record<string, unknown>): Promise<Outcome> {
  try {
    const content = JSON.stringify((await tool.run(args)) ?? null); // fails if it can't be written as JSON
    return { content: JSON.parse(content) as Json, is_error: false };
  } catch (cause) {
    return failed(cause instanceof Error ? cause.message : String(cause));
  }
}

/** Makes each call of the page's tools once, also if the page is reloaded meanwhile. */
class ClientCalls {
  private readonly service: Service;
  private readonly send: (run: Run, callId: string, outcome: Outcome) => Promise<AgentError | null>;

  constructor(service: Service, send: ClientCalls["send"]) {
    this.service = service;
    this.send = send;
  }

  make(run: Run, pending: PendingCall[]): void {
    const tools = this.service.options.clientTools ?? {};
    for (const { kind, name, tool_call_id } of pending) {
      const tool = Object.hasOwn(tools, name) ? tools[name] : undefined;
      if (tool && kind === "client" && run.isOurs) void this.makeCall(run, tool_call_id, tool);
    }
  }

  forget(run: Run): void {
    for (const callId of run.calls.keys()) {
      const call = `${run.id}/${callId}`;
      made.delete(call);
      storage(this.service.options, (kept, key) => kept.removeItem(`${key}:${call}`));
    }
  }

  private async makeCall(run: Run, callId: string, tool: ClientTool): Promise<void> {
    const key = `${run.id}/${callId}`;
    const outcome = made.get(key) ?? this.makeOnce(key, tool, run.calls.get(callId) ?? {});
    made.set(key, outcome);
    const error = await this.send(run, callId, await outcome);
    if (error && !error.retryable) await this.send(run, callId, failed(`The result can't be sent: ${error.message}`));
  }

  /** Makes a call, unless the page has made it before a reload. */
  private async makeOnce(call: string, tool: ClientTool, args: Record<string, unknown>): Promise<Outcome> {
    const { options } = this.service;
    const noted = () => storage(options, (kept, key) => kept.getItem(`${key}:${call}`));
    const note = (outcome: Outcome) =>
      storage(options, (kept, key) => kept.setItem(`${key}:${call}`, JSON.stringify(outcome)));
    const before = noted();
    if (before) return JSON.parse(before) as Outcome;
    note(failed("The page was reloaded while this call was being made: its effect is unknown."));
    const outcome = await outcomeOf(tool, args);
    if (noted()) note(outcome); // else the run has ended meanwhile
    return outcome;
  }
}

/**
 * Uses sessionStorage with the key of this conversation. Returns null if there is no `storageKey`, and if the browser denies
 * access or has no room.
 */
function storage<T>(
  { storageKey, sessionId }: AgentStreamOptions,
  access: (kept: Storage, key: string) => T,
): T | null {
  if (storageKey === undefined) return null;
  try {
    return access(sessionStorage, sessionId === undefined ? storageKey : `${storageKey}:${sessionId}`);
  } catch {
    return null;
  }
}

/** Starts, follows and stops one run at a time, and shows it with its conversation. */
class Runner {
  readonly view = new View();
  private readonly service: Service;
  private readonly clientCalls: ClientCalls;
  private current: Run | null = null;
  private latest: Run | null = null;
  /** A run that was stopped here, until the service has confirmed it. */
  private stopping: Run | null = null;
  /** The answers that this page has read to their end, by run. */
  private readonly read = new Map<string, Message>();
  private place: string | null = null;
  private loading = new AbortController();

  constructor(options: AgentStreamOptions) {
    this.service = new Service(options);
    this.clientCalls = new ClientCalls(this.service, (run, callId, outcome) =>
      this.send(run, callId, outcome, Infinity),
    );
  }

  private get options(): AgentStreamOptions {
    return this.service.options;
  }

  configure = (options: AgentStreamOptions): void => {
    this.service.options = options;
  };

  /**
   * Follows the run that was under way when this component or its page was left. The state is kept if React only runs the
   * effects again, as for <Activity> and in StrictMode. Returns a function that stops following.
   */
  mount = (): (() => void) => {
    const { baseUrl, storageKey, sessionId } = this.options;
    const place = JSON.stringify([baseUrl, storageKey, sessionId]);
    if (this.place !== place) this.forgetAll();
    this.place = place;
    if (this.current) void this.follow(this.current);
    else this.followRemembered();
    void this.load();
    const stopSharing = this.service.share(() => this.current?.reader?.giveWay());
    const stopWaking = onWake(() => !this.current && void this.load());
    const looking = setInterval(() => void this.look(), LOOK_MS);
    return () => {
      clearInterval(looking);
      stopWaking();
      stopSharing();
      this.loading.abort();
      this.current?.reader?.leave();
    };
  };

  stream = (input: string | Question, onEvent?: OnEvent): Promise<Complete | null> => {
    void this.stop();
    const question = Object.entries(typeof input === "string" ? { input } : input);
    const given = Object.fromEntries(question.filter(([, value]) => value !== undefined)) as unknown as AgentRequest;
    const asked = { ...this.requestDefaults(), ...this.withTools(), ...given };
    const run = new Run({ asked, isOurs: true, onEvent });
    return this.follow(this.begin(run, { messages: this.withQuestion(run, asked) }));
  };

  attach = (runId: string, onEvent?: OnEvent): Promise<Complete | null> => {
    this.leave();
    return this.follow(this.begin(new Run({ id: runId.trim(), isOurs: true, onEvent })));
  };

  reconnect = async (): Promise<Complete | null> => {
    this.current?.reader?.wake();
    if (this.current || !this.latest || this.latest.isOver) return null;
    const run = (this.current = this.latest);
    this.update(run, (state) => ({ ...state, status: run.wasConnected ? "reconnecting" : "connecting", error: null }));
    return this.follow(run);
  };

  regenerate = async (onEvent?: OnEvent): Promise<Complete | null> => {
    const question = this.view.state.messages.findLast(({ role }) => role === "user");
    if (!question?.content) return null;
    const { run_id, content: input } = question;
    const asked = this.latest?.id === (run_id || null) ? this.latest.asked : null;
    const inPlace = this.options.sessionId !== undefined && !this.isMissing(run_id); // otherwise its answer has no place here
    const place = inPlace ? ({ parent_run_id: run_id, parent_state: "before" } as const) : {};
    return this.stream({ ...asked, input, ...place }, onEvent);
  };

  stop = async (): Promise<void> => {
    const run = this.current;
    if (!run) return;
    this.update(run, (state) => {
      const cancelled: RunState = { ...state, status: "cancelled", pending: [], error: null };
      if (run.id === null) return withoutAnswer(cancelled, run.key, "cancelled");
      return withAnswer(cancelled, { ...(answerOf(state, run.id) ?? emptyAnswer(run.id)), status: "cancelled" });
    });
    this.finish(run);
    this.stopping = run;
    if (!run.id) await run.reader?.opening.catch(() => null); // before the response there is no id by which to cancel
    run.reader?.leave();
    const cancel = { method: "POST", keepalive: true };
    // If the service can't be reached, the run continues, or ends when it has no reader.
    if (run.id) await this.service.request(`${run.path}/cancel`, cancel).catch(() => null);
    if (this.stopping === run) this.stopping = null;
  };

  approve = (callId: string, { arguments: changed }: Changes = {}): Promise<AgentError | null> =>
    this.decide(callId, { approved: true, ...(changed && { arguments: changed }) });

  refuse = (callId: string, reason?: string): Promise<AgentError | null> =>
    this.decide(callId, { approved: false, ...(reason && { reason }) });

  sendToolResult = (callId: string, content: Json, { isError = false } = {}): Promise<AgentError | null> =>
    this.send(this.current, callId, { content, is_error: isError });

  private decide(callId: string, decision: object): Promise<AgentError | null> {
    return this.answer(this.current, `approvals/${encodeURIComponent(callId)}`, decision);
  }

  private send(
    run: Run | null,
    tool_call_id: string,
    outcome: Outcome,
    retries = QUESTION_RETRIES,
  ): Promise<AgentError | null> {
    return this.answer(run, "tool-results", { results: [{ tool_call_id, ...outcome }] }, retries);
  }

  /** Sends an answer to a waiting run. It is sent again if it may not have arrived: the same answer twice counts once. */
  private async answer(
    run: Run | null,
    path: string,
    body: object,
    retries = QUESTION_RETRIES,
  ): Promise<AgentError | null> {
    if (!run?.id || !run.reader) return { code: "run_not_waiting", message: "No run waits.", retryable: false };
    const { reader } = run;
    const call = {
      headers: { Accept: "text/event-stream, application/json", "Last-Event-ID": String(run.lastSeq) },
      signal: reader.signal,
    };
    for (let failures = 0; ; failures += 1) {
      const sent = this.service.post(`${run.path}/${path}`, body, call);
      const response = await sent.catch(() => null);
      if (response && isStream(response)) reader.resume(response);
      else reader.wake(); // also after a refusal: another page may have answered
      if (response?.ok) return null;
      const { error, isFinal } = response ? await refusal(response) : unreachable(this.service.url);
      const isHopeless = isFinal || failures >= (this.options.maxRetries ?? retries);
      if (isHopeless || reader.signal.aborted) return error;
      await pause((error.retry_after ?? 0) * 1000, reader.signal);
      await rest(retryDelay(failures), reader.signal);
    }
  }

  private withTools(): Pick<AgentRequest, "client_tools"> {
    const tools = Object.entries(this.options.clientTools ?? {});
    if (tools.length === 0) return {};
    const about = ([name, { description, parameters }]: (typeof tools)[number]) => ({
      name,
      ...(description !== undefined && { description }),
      ...(parameters && { parameters }),
    });
    return { client_tools: tools.map(about) };
  }

  /**
   * The fields of a question about its conversation. An answer that can be found again is worth finishing. A run of another
   * page must not be interrupted, even if it has no reader at the moment.
   */
  private requestDefaults(): Partial<AgentRequest> {
    const { sessionId, storageKey } = this.options;
    const multitask = this.stopping ? "interrupt" : "reject"; // a run that was just stopped needs some time to end
    return {
      ...((sessionId ?? storageKey) !== undefined && { on_disconnect: "continue" }),
      ...(sessionId !== undefined && { session_id: sessionId, multitask }),
    };
  }

  /** Shows this run, with `messages` before its answer. */
  private begin(run: Run, { messages, error = null }: Partial<RunState> = {}): Run {
    this.loading.abort();
    this.current = this.latest = run;
    if (run.id) this.remember(run);
    const { id: runId, isOurs } = run;
    const before = this.options.sessionId === undefined ? [] : this.view.state.messages;
    this.view.change(() => ({ ...IDLE, messages: messages ?? before, status: "connecting", runId, isOurs, error }));
    return run;
  }

  /** Reads a run to its end. Resolves with null if it doesn't reach the end, as `stream` does. */
  private async follow(run: Run): Promise<Complete | null> {
    run.reader?.leave();
    const reader: RunReader = new RunReader(this.service, run, {
      isCurrent: () => this.current === run && run.reader === reader,
      isWaiting: () => this.current === run && this.view.state.pending.length > 0,
      change: (change) => this.update(run, change),
      learn: (id) => this.learn(run, id),
      take: (events) => this.take(run, events, reader.signal),
      makeCalls: () => this.clientCalls.make(run, this.view.state.pending),
    });
    run.reader = reader;
    try {
      return await reader.read();
    } catch (cause) {
      if (reader.signal.aborted || this.current !== run) return null;
      this.fail(run, cause);
      if (cause instanceof RunFailure) return null;
      throw cause;
    }
  }

  /** Shows events and passes them to `onEvent`. Returns the data of `complete`. */
  private take(run: Run, events: StreamEvent[], signal: AbortSignal): Complete | null {
    const [first] = events;
    if (!first) return null;
    this.learn(run, first.run_id);
    this.update(run, (state) => fold(state, first.run_id, events));
    for (const event of events) {
      if (signal.aborted || this.current !== run) return null;
      run.lastSeq = event.seq;
      run.onEvent?.(event);
      if (event.event === "tool_use") run.calls.set(event.data.tool_call_id, event.data.arguments);
      if (event.event !== "complete") continue;
      this.finish(run);
      void this.load();
      return event.data;
    }
    return null;
  }

  private fail(run: Run, cause: unknown): void {
    const isOurs = cause instanceof RunFailure;
    const error = isOurs ? cause.error : { code: "callback", message: String(cause), retryable: false };
    run.isGone = isOurs && cause.isGone;
    this.update(run, (state) => {
      const answer = answerOf(state, run.id);
      const failed: RunState = { ...state, status: "failed", pending: [], error };
      if (!answer) return withoutAnswer(failed, run.key, "failed");
      return withAnswer(failed, { ...answer, status: "failed", error });
    });
    const isRefused = isOurs && cause.isFinal && !run.id;
    if (!isOurs || run.isGone || isRefused) this.finish(run);
    this.current = null;
    void this.load();
  }

  /** Checks for a question of another page in the session. */
  private async look(): Promise<void> {
    const { sessionId } = this.options;
    if (sessionId === undefined || this.current || document.visibilityState === "hidden") return;
    const path = `/api/agent/runs?${new URLSearchParams({ session_id: sessionId, limit: "1" })}`;
    const { signal } = this.loading;
    const response = await this.service.request(path, { signal }).catch(() => null);
    if (!response?.ok) return;
    const { runs } = (await response.json().catch(() => ({ runs: [] }))) as { runs: { run_id: string }[] };
    const isShown = (id: string) => this.view.state.messages.some(({ run_id }) => run_id === id);
    if (!this.current && !signal.aborted && runs.some(({ run_id }) => !isShown(run_id))) void this.load();
  }

  /**
   * Shows the session as the service has stored it, and follows a run of it that is under way. If the service can't be
   * reached, the page stays as it is.
   */
  private async load(): Promise<void> {
    const { sessionId } = this.options;
    if (sessionId === undefined) return;
    this.loading.abort();
    const { signal } = (this.loading = new AbortController());
    const stored = await this.storedMessages(sessionId, signal).catch(() => null);
    if (!stored || signal.aborted) return;
    this.view.change((state) => this.withStored(state, stored));
    if (this.current) return;
    const unfinished = stored.find((message) => isUnfinished(message) && !this.isKnownOver(message.run_id));
    if (!unfinished) return;
    const { error } = this.view.state;
    const isInTheWay = error?.code === "session_busy"; // this error stays on the page
    void this.follow(
      this.begin(new Run({ id: unfinished.run_id, isOurs: false }), { error: isInTheWay ? error : null }),
    );
  }

  /** The stored conversation, with a question that the service doesn't have and an answer under way. */
  private withStored(state: RunState, stored: SessionMessage[]): RunState {
    const messages = conversation(stored, this.read);
    const known = new Set(messages.map(({ run_id }) => run_id));
    const missing = state.messages.filter(({ run_id }) => !known.has(run_id) && this.isMissing(run_id));
    const loaded = { ...state, messages: [...messages, ...missing] };
    const answer = answerOf(state, state.runId);
    return answer && known.has(answer.run_id) && !answerOf(loaded, state.runId) ? withAnswer(loaded, answer) : loaded;
  }

  /** Whether a question did not reach the service, or the service has lost its run. */
  private isMissing(runId: string): boolean {
    return runId === "" ? !this.latest?.isOver : this.isGone(runId);
  }

  private isGone(runId: string): boolean {
    return this.latest?.id === runId && this.latest.isGone;
  }

  private isKnownOver(runId: string): boolean {
    return this.latest?.id === runId && this.latest.isOver;
  }

  private async storedMessages(sessionId: string, signal: AbortSignal): Promise<SessionMessage[] | null> {
    const messages: SessionMessage[] = [];
    const query = new URLSearchParams({ limit: "200" });
    for (;;) {
      const path = `/api/agent/sessions/${encodeURIComponent(sessionId)}/messages?${query}`;
      const response = await this.service.request(path, { signal });
      if (response.status === 404) return []; // the session has no question yet
      if (!response.ok) return null;
      const page = (await response.json()) as { messages: SessionMessage[]; next_cursor?: string };
      messages.push(...page.messages);
      if (page.next_cursor === undefined) return messages;
      query.set("cursor", page.next_cursor);
    }
  }

  /** The conversation with a question in its place. Until its run is known, `run_id` is empty. */
  private withQuestion(run: Run, { input, parent_run_id: parent = "", parent_state }: AgentRequest): Message[] {
    const question: Message = {
      message_id: run.key,
      run_id: run.id ?? "",
      role: "user",
      content: input,
      parts: [],
      status: "queued",
    };
    if (this.options.sessionId === undefined) return [question];
    const arrived = this.view.state.messages.filter(({ run_id }) => run_id !== "");
    const runs = arrived.map(({ run_id }) => run_id);
    const place = parent_state === "before" ? runs.indexOf(parent) : runs.lastIndexOf(parent) + 1;
    return [...(runs.includes(parent) ? arrived.slice(0, place) : arrived), question];
  }

  private learn(run: Run, id: string | null): void {
    if (run.id || !id) return;
    run.id = id;
    if (this.current !== run) return;
    this.remember(run);
    this.view.change((state) => ({
      ...state,
      runId: id,
      messages: state.messages.map((message) =>
        message.message_id === run.key ? { ...message, run_id: id } : message,
      ),
    }));
  }

  /** Stores the data that a reloaded page needs. A question that is too large, such as one with images, is left out. */
  private remember({ id, asked }: Run): void {
    storage(this.options, (kept, key) => kept.setItem(key, id ?? ""));
    storage(this.options, (kept, key) => kept.setItem(`${key}:asked`, JSON.stringify(asked)));
  }

  private followRemembered(): void {
    const id = storage(this.options, (kept, key) => kept.getItem(key));
    if (!id) return;
    const text = storage(this.options, (kept, key) => kept.getItem(`${key}:asked`)) ?? "null";
    const asked = JSON.parse(text) as AgentRequest | null;
    const run = new Run({ id, isOurs: true, ...(asked && { asked }) });
    void this.follow(this.begin(run, asked ? { messages: this.withQuestion(run, asked) } : {}));
  }

  /** Shows a change, unless another run has taken this one's place. */
  private update(run: Run, change: (state: RunState) => RunState): void {
    if (this.current === run) this.view.change(change);
  }

  /** Removes the stored data of a run that has ended. */
  private finish(run: Run): void {
    const answer = answerOf(this.view.state, run.id);
    if (answer) this.read.set(answer.run_id, answer);
    run.isOver = true;
    this.current = null;
    storage(this.options, (kept, key) => {
      kept.removeItem(key);
      kept.removeItem(`${key}:asked`);
    });
    this.clientCalls.forget(run);
  }

  private leave(): void {
    this.current?.reader?.leave();
    this.current = null;
  }

  private forgetAll(): void {
    this.leave();
    this.latest = null;
    this.read.clear();
    this.view.change(() => IDLE);
  }
}

/** A person's change of a call: it is made with these `arguments` instead. */
export interface Changes {
  arguments?: Record<string, unknown> | undefined;
}

export interface AgentStream extends RunState {
  /** Whether a run is under way, or waits. */
  isStreaming: boolean;
  /** The reasoning in the answer of `runId`. */
  thinking: string;
  /** The text of the model's last turn so far. At the end, it is the whole answer. */
  output: string;
  /** The tool calls in the answer of `runId`. */
  toolCalls: ToolCall[];
  /**
   * Asks the agent, and calls `onEvent` with each event, once and in order. A run under way is stopped first.
   *
   * Resolves with the data of `complete`, whatever its status. Resolves with null if the run was not read to its end,
   * because it was stopped, the component was removed, or an error occurred here; see `status` and `error`. Rejects only
   * with an exception of `onEvent`. In a session, or with `storageKey`, the service finishes a run that has no reader
   * (`on_disconnect`).
   */
  stream: (input: string | Question, onEvent?: OnEvent) => Promise<Complete | null>;
  /**
   * Follows any run from its first event, and from now on makes its calls of `clientTools`, in place of a page that is gone.
   * A run that was followed until now continues by itself.
   */
  attach: (runId: string, onEvent?: OnEvent) => Promise<Complete | null>;
  /** Tries at once, also after `failed`, to read the rest of the run. Null if there is nothing to read. */
  reconnect: () => Promise<Complete | null>;
  /**
   * Asks the last question again, and in a session replaces its answer. The request is the same if this page made it.
   * Resolves like `stream`, and with null if there is no question.
   */
  regenerate: (onEvent?: OnEvent) => Promise<Complete | null>;
  /** Cancels the run at the service and stops reading. Resolves when the service has confirmed it. */
  stop: () => Promise<void>;
  /**
   * Approves a call of `pending`. The run resumes when each call has its answer. Resolves with null if the service has
   * accepted the answer, and otherwise with the error, such as invalid arguments (`details`) or an answer from elsewhere
   * (`tool_call_answered`). The next two functions do the same. None of them rejects.
   */
  approve: (callId: string, changes?: Changes) => Promise<AgentError | null>;
  /** Refuses a call of `pending`. The model receives the reason. */
  refuse: (callId: string, reason?: string) => Promise<AgentError | null>;
  /** Sends the result of a call of the kind `client` that `clientTools` doesn't handle. */
  sendToolResult: (
    callId: string,
    content: Json,
    how?: { isError?: boolean | undefined },
  ) => Promise<AgentError | null>;
}

/** Runs an agent and follows it. Reading ends when the component is removed. */
export function useAgentStream(options: AgentStreamOptions = {}): AgentStream {
  const [runner] = useState(() => new Runner(options));
  const state = useSyncExternalStore(runner.view.subscribe, runner.view.get, idle);
  useEffect(() => runner.configure(options));
  useEffect(() => runner.mount(), [runner, options.baseUrl, options.storageKey, options.sessionId]);
  const { parts = [], content } = answerOf(state, state.runId) ?? {};
  const { stream, attach, reconnect, regenerate, stop, approve, refuse, sendToolResult } = runner;
  return {
    ...state,
    isStreaming: ["connecting", "streaming", "waiting", "reconnecting"].includes(state.status),
    thinking: parts.map((part) => (part.type === "thinking" ? part.text : "")).join(""),
    output: textOf(content ?? ""),
    toolCalls: callsIn(parts),
    stream,
    attach,
    reconnect,
    regenerate,
    stop,
    approve,
    refuse,
    sendToolResult,
  };
}

const idle = () => IDLE;

// A page that uses it.

/** The text about an error for end users. */
export function explain({ code, message, details = [] }: AgentError): string {
  if (code === "session_busy") return "This conversation is still being answered. Wait for that answer, then ask again.";
  return details.length > 0 ? details.map((detail) => `${detail.message} (${detail.loc})`).join(" ") : message;
}

const PAGE: CSSProperties = { maxWidth: "48em", margin: "0 auto", padding: "1em" };
const TEXT: CSSProperties = { whiteSpace: "pre-wrap", overflowWrap: "anywhere", margin: "0.6em 0" };
const BOX: CSSProperties = { border: "1px solid #8888", borderRadius: 8, padding: "0.4em 0.8em" };
const ALERT: CSSProperties = { ...BOX, borderColor: "#d33", margin: "0.6em 0" };
const COMPOSER: CSSProperties = {
  ...{ position: "sticky", bottom: 0, backdropFilter: "blur(12px)", padding: "0.8em 0" },
  ...{ display: "flex", flexWrap: "wrap", gap: "0.5em", alignItems: "center" },
};

interface ApprovalCardProps extends Pick<AgentStream, "approve" | "refuse"> {
  call: PendingCall;
}

/** Asks a person about a call. The person can change the arguments before it is made. */
function ApprovalCard({ call, approve, refuse }: ApprovalCardProps) {
  const written = JSON.stringify(call.arguments, null, 2);
  const [text, setText] = useState(written);
  const [isSending, setSending] = useState(false);
  const [mistake, setMistake] = useState("");

  const send = async (answer: () => Promise<AgentError | null>) => {
    setSending(true);
    setMistake("");
    try {
      const error = await answer();
      if (error) setMistake(explain(error));
    } catch {
      setMistake("The arguments are not valid JSON.");
    }
    setSending(false);
  };
  const changes = (): Changes => (text === written ? {} : { arguments: JSON.parse(text) as Record<string, unknown> });

  return (
    <section aria-label={`Approval of ${call.name}`} style={{ ...BOX, margin: "1em 0" }}>
      <h2 style={{ fontSize: "1em", margin: "0.4em 0" }}>
        May the agent call <code>{call.name}</code>?
      </h2>
      <textarea
        aria-label="Arguments"
        rows={written.split("\n").length}
        style={{ ...BOX, display: "block", width: "100%", boxSizing: "border-box", marginBottom: "0.8em" }}
        value={text}
        onChange={(change) => setText(change.target.value)}
      />
      <button
        type="button"
        style={BOX}
        disabled={isSending}
        onClick={() => void send(async () => approve(call.tool_call_id, changes()))}
      >
        Approve
      </button>{" "}
      <button type="button" style={BOX} disabled={isSending} onClick={() => void send(() => refuse(call.tool_call_id))}>
        Refuse
      </button>{" "}
      {call.expires_at && <>Refused automatically at {new Date(call.expires_at).toLocaleString()}.</>}
      {mistake && (
        <div role="alert" style={ALERT}>
          {mistake}
        </div>
      )}
    </section>
  );
}

/** The state of a call in one or two words. */
function stateOf({ approval_request: asked, approval_response: decided, progress, result }: ToolCall): string {
  if (result) return result.is_error ? "failed" : "done";
  if (progress) return progress.message ?? "running";
  if (decided) return decided.approved ? "approved" : "refused";
  return asked ? "waits for approval" : "…";
}

function CallCard(call: ToolCall) {
  const { name, arguments_text, progress, result } = call;
  return (
    <details style={{ ...BOX, margin: "0.6em 0" }}>
      <summary>
        <code>{name}</code> {stateOf(call)}{" "}
        {!result && progress?.total !== undefined && <progress value={progress.progress} max={progress.total} />}
      </summary>
      <pre style={TEXT}>{arguments_text}</pre>
      {result && <pre style={TEXT}>{result.content}</pre>}
    </details>
  );
}

function PartView({ part }: { part: Part }) {
  switch (part.type) {
    case "thinking":
      return (
        <details style={{ margin: "0.5em 0" }}>
          <summary>Thinking</summary>
          <div style={TEXT}>{part.text}</div>
        </details>
      );
    case "text":
      return <p style={TEXT}>{part.text}</p>;
    case "tool_call":
      return <CallCard {...part.call} />;
  }
}

/** A question or an answer. An unchanged message is not rendered again while another one streams. */
const MessageView = memo(function MessageView({ message }: { message: Message }) {
  const { role, content, parts, status, error } = message;
  if (role === "user") {
    return <p style={{ ...TEXT, fontWeight: "bold" }}>{content !== null && textOf(content)}</p>;
  }
  return (
    <div aria-live="polite" aria-busy={isUnfinished(message)}>
      {parts.map((part, place) => (
        <PartView key={place} part={part} />
      ))}
      {status === "cancelled" && <p style={TEXT}>Stopped.</p>}
      {status === "failed" && error && (
        <p role="alert" style={ALERT}>
          {explain(error)} ({error.code})
        </p>
      )}
    </div>
  );
});

export default function AgentChat(options: AgentStreamOptions) {
  const agent = useAgentStream({ storageKey: "agent-stream-run", ...options });
  const { stream, attach, reconnect, regenerate, stop, approve, refuse, isStreaming, status } = agent;
  const { messages, runId, isOurs, pending, error } = agent;
  const [question, setQuestion] = useState("");
  const isInMessage = messages.some((message) => message.run_id === runId && message.error !== undefined);
  const isCutOff = status === "failed" && (error?.code === "network" || error?.code === "incomplete");

  const ask = () => {
    if (isStreaming) return; // Enter twice
    const taken = (asked: string) => (asked === question ? "" : asked);
    void stream(question, (event) => event.event === "run_started" && setQuestion(taken));
  };

  return (
    <main style={PAGE}>
      {messages.map((message) => (
        <MessageView key={message.message_id} message={message} />
      ))}
      {pending
        .filter(({ kind }) => kind === "approval")
        .map((call) => (
          <ApprovalCard key={call.tool_call_id} call={call} approve={approve} refuse={refuse} />
        ))}
      {!isOurs &&
        pending
          .filter(({ kind }) => kind === "client")
          .map(({ tool_call_id, name }) => (
            <section key={tool_call_id} style={{ ...BOX, margin: "1em 0" }}>
              The page that asked has to run <code>{name}</code>.{" "}
              {runId && Object.hasOwn(options.clientTools ?? {}, name) && (
                <button type="button" style={BOX} onClick={() => void attach(runId)}>
                  Run it here
                </button>
              )}
            </section>
          ))}
      {error && !isInMessage && (
        <p role="alert" style={ALERT}>
          {explain(error)} ({error.code})
        </p>
      )}
      <form
        style={COMPOSER}
        onSubmit={(submit) => {
          submit.preventDefault();
          ask();
        }}
      >
        <input
          aria-label="Question"
          placeholder="Ask the agent"
          required
          style={{ ...BOX, flex: "1 1 16em" }}
          value={question}
          onChange={(change) => setQuestion(change.target.value)}
        />
        {isStreaming ? (
          <button type="button" style={BOX} onClick={() => void stop()}>
            Stop
          </button>
        ) : (
          <button type="submit" style={BOX}>
            Ask
          </button>
        )}
        {isCutOff && (
          <button type="button" style={BOX} onClick={() => void reconnect()}>
            Try again
          </button>
        )}
        {messages.some(({ role }) => role === "user") && !isStreaming && !isCutOff && (
          <button type="button" style={BOX} onClick={() => void regenerate()}>
            Ask again
          </button>
        )}
        <small role="status">{status}</small>
      </form>
    </main>
  );
}
