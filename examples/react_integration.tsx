"use client";

/* Agent Stream in React. Copy this file into your app: it needs React 18 or newer, and nothing else.

     const { stream, stop, output, status } = useAgentStream({ baseUrl: "http://127.0.0.1:8000" });

     await stream("Research AI", (event) => {
       if (event.event === "final_output") console.log(event.data.content);
     });

   A lost connection is taken up again where it broke, and a question that got no answer is sent again with the same
   key, which is the same run. A run that can't be read to its end has failed, never succeeded. With `sessionId` the
   service keeps the conversation: `messages` shows it, and `regenerate()` asks its last question again.

   A run may wait, for hours and over reloads: `pending` are the calls that a person has to decide on, by `approve()` or
   `refuse()`. Tools that run in the page are `clientTools`; the hook offers them to the model and makes their calls. */

import { useEffect, useState } from "react";

// The contract: what the service sends and takes. An optional key is left out where there is nothing to say, never null.

export type ToolSource = "python" | "mcp" | "hosted" | "client";

/** Tokens counted by the model's server; null where it reports none. */
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

/** A message of a session. Those of a run follow its question; `parent_id` is the message before it on its branch. */
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

/** What went wrong: told by the service, or found here (`network`, `incomplete`, `http_…`, `callback`). */
export interface AgentError {
  code: string;
  message: string;
  retryable: boolean;
  request_id?: string;
  retry_after?: number;
  /** The run that is in the way, where one is (`session_busy`). */
  run_id?: string;
  details?: { loc: string; message: string }[];
}

// The wire: bytes in, events out.

const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 10_000;
const SILENCE_MS = 60_000; // the service says something every 4 s, so a connection this quiet is dead

interface Frame {
  data: string;
  retry: number;
}

/** Makes frames of bytes, however they are cut. Comments and what a torn body leaves unfinished make none. */
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

/** The frames of a body, as many at a time as one read brings. A connection that has fallen silent ends, too. */
async function* readFrames(body: ReadableStream<Uint8Array>): AsyncGenerator<Frame[]> {
  const reader = body.getReader();
  const parse = frameParser();
  try {
    for (;;) {
      const silence = setTimeout(() => void reader.cancel(), SILENCE_MS);
      const { done, value } = await reader.read().finally(() => clearTimeout(silence));
      if (done) return;
      yield parse(value);
    }
  } finally {
    reader.cancel().catch(() => {}); // a torn body can't be cancelled any more
  }
}

/** The events among the frames that come after one that was seen already. */
function eventsAfter(last: number, frames: Frame[]): StreamEvent[] {
  const events: StreamEvent[] = [];
  for (const { data } of frames) {
    if (data === "") continue;
    const event = JSON.parse(data) as StreamEvent;
    if (event.seq > (events.at(-1)?.seq ?? last)) events.push(event);
  }
  return events;
}

class RunFailure extends Error {
  readonly error: AgentError;

  constructor(error: AgentError) {
    super(error.message);
    this.error = error;
  }
}

const incomplete = () =>
  new RunFailure({ code: "incomplete", message: "The rest of the answer could not be read.", retryable: true });

const outOfReach = (cause: unknown) =>
  new RunFailure({ code: "network", message: `The service is out of reach: ${cause}`, retryable: true });

async function refusal(response: Response): Promise<RunFailure> {
  const body = (await response.json().catch(() => null)) as { error?: AgentError } | null;
  const error =
    typeof body?.error?.code === "string"
      ? body.error
      : {
          code: `http_${response.status}`,
          message: `The answer (HTTP ${response.status}) is not a stream of events.`,
          retryable: response.status >= 500,
        };
  const seconds = retryAfter(response) / 1000;
  return new RunFailure(seconds > 0 ? { ...error, retry_after: seconds } : error);
}

function retryAfter(response: Response): number {
  return Number(response.headers.get("Retry-After")) * 1000 || 0;
}

function isStream(response: Response): response is Response & { body: ReadableStream<Uint8Array> } {
  return response.ok && !!response.headers.get("Content-Type")?.startsWith("text/event-stream") && !!response.body;
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
    signal.addEventListener("abort", () => resolve());
  });
}

/** How long to wait after so many tries. All clients have lost it at once, and must not return so. */
function retryDelay(tries: number): number {
  return Math.min(FIRST_DELAY_MS * 2 ** tries, LONGEST_DELAY_MS) * (0.5 + Math.random() / 2);
}

interface Source {
  /** Asks for the events after that one; 0 is the start, which also begins a run that has not begun. */
  open: (after: number) => Promise<Response>;
  maxRetries: number;
  signal: AbortSignal;
  onConnection: (status: "streaming" | "reconnecting") => void;
}

/**
 * A run's events in order, each once, as many at a time as one read brings. Returns after `complete`.
 *
 * Throws a RunFailure when the run is refused or gone, or when `maxRetries` in a row bring nothing new.
 */
async function* runEvents({ open, maxRetries, signal, onConnection }: Source): AsyncGenerator<StreamEvent[]> {
  let last = 0;
  for (let tries = 0; ; ) {
    let wait = 0;
    let failure = incomplete();
    try {
      const response = await open(last);
      if (isStream(response)) {
        onConnection("streaming");
        for await (const frames of readFrames(response.body)) {
          wait = frames.findLast((frame) => frame.retry > 0)?.retry ?? wait;
          const events = eventsAfter(last, frames);
          const newest = events.at(-1);
          if (!newest) continue;
          last = newest.seq;
          tries = 0;
          yield events;
          if (newest.event === "complete") return;
        }
      } else {
        failure = response.status === 204 ? incomplete() : await refusal(response);
        wait = retryAfter(response);
        const mayPass = response.status === 429 || response.status >= 500;
        // What the service itself says to a question is the answer to it, unless it says when to come back.
        if (!mayPass || (last === 0 && wait === 0 && !failure.error.code.startsWith("http_"))) throw failure;
      }
    } catch (cause) {
      if (signal.aborted || cause instanceof RunFailure) throw cause;
      failure = outOfReach(cause); // a torn body and a server out of reach are mended like a body that ended too early
    }
    if (tries === maxRetries) throw last > 0 ? incomplete() : failure;
    onConnection("reconnecting");
    await pause(wait + retryDelay(tries++), signal);
  }
}

// The state: events in, what a page shows out.

export type AgentStatus = "idle" | "connecting" | "streaming" | "waiting" | "reconnecting" | Complete["status"];

/** A tool call as far as it has come. `arguments` is there once it is complete, `result` once it is over. */
export interface ToolCall {
  tool_call_id: string;
  name: string;
  source: ToolSource;
  server?: string;
  arguments_text: string;
  arguments?: Record<string, unknown>;
  /** A person is asked about it, until `expires_at`. */
  approval_request?: EventData["approval_request"];
  approval_response?: EventData["approval_response"];
  progress?: EventData["tool_progress"];
  result?: EventData["tool_result"];
}

/** A call that the run waits for: `approval` by `approve` or `refuse`, `client` by `sendToolResult` or `clientTools`. */
export interface PendingCall {
  tool_call_id: string;
  name: string;
  kind: "approval" | "client";
  arguments: Record<string, unknown>;
  /** When the service refuses it by itself; of an approval. UTC, RFC 3339. */
  expires_at?: string;
}

/** `output` is the text of the model's last turn so far, which in the end is the whole answer. */
export interface RunState {
  /** What was said in the session, the question of a run under way included; its answer comes when the run is over. */
  messages: SessionMessage[];
  status: AgentStatus;
  runId: string | null;
  thinking: string;
  output: string;
  toolCalls: ToolCall[];
  pending: PendingCall[];
  error: AgentError | null;
}

const IDLE: RunState = {
  messages: [],
  status: "idle",
  runId: null,
  thinking: "",
  output: "",
  toolCalls: [],
  pending: [],
  error: null,
};

function fold(state: RunState, event: StreamEvent): RunState {
  switch (event.event) {
    case "step_started":
      return { ...state, output: "" };
    case "thinking":
      return { ...state, thinking: state.thinking + event.data.content };
    case "partial_output":
      return { ...state, output: state.output + event.data.content };
    case "final_output":
      return { ...state, output: event.data.content };
    case "tool_use_delta":
    case "tool_use":
    case "approval_request":
    case "tool_progress":
      return { ...state, toolCalls: foldCalls(state.toolCalls, event) };
    case "waiting":
      return { ...state, status: "waiting", pending: event.data.pending.map((call) => pendingCall(state, call)) };
    case "approval_response":
    case "tool_result":
      return answered({ ...state, toolCalls: foldCalls(state.toolCalls, event) }, event.data.tool_call_id);
    case "error":
      return { ...state, error: event.data };
    case "complete":
      return { ...state, status: event.data.status, pending: [] };
    default:
      return state;
  }
}

function pendingCall({ toolCalls }: RunState, call: EventData["waiting"]["pending"][number]): PendingCall {
  const told = toolCalls.find(({ tool_call_id }) => tool_call_id === call.tool_call_id);
  return {
    ...call,
    arguments: told?.arguments ?? {},
    ...(told?.approval_request && { expires_at: told.approval_request.expires_at }),
  };
}

function answered(state: RunState, id: string): RunState {
  const pending = state.pending.filter(({ tool_call_id }) => tool_call_id !== id);
  const goesOn = state.status === "waiting" && pending.length === 0;
  return { ...state, pending, status: goesOn ? "streaming" : state.status };
}

type ToolEvent = Extract<StreamEvent, { event: `tool_${string}` | `approval_${string}` }>;

function foldCalls(calls: ToolCall[], event: ToolEvent): ToolCall[] {
  const id = event.data.tool_call_id;
  const known = calls.find((call) => call.tool_call_id === id);
  const call = foldCall(known ?? { tool_call_id: id, name: "", source: "python", arguments_text: "" }, event);
  return known ? calls.map((other) => (other === known ? call : other)) : [...calls, call];
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

// The hook.

/** A tool that runs in the page. `parameters` is the JSON schema of its arguments, an object's. */
export interface ClientTool {
  description?: string;
  parameters?: Record<string, unknown>;
  /** Gives text or what JSON can hold. What it throws, the model is told as the call's error. */
  run: (args: Record<string, unknown>) => unknown;
}

export interface AgentStreamOptions {
  /** Where the service is, without a slash at the end; "" is the page's own origin. */
  baseUrl?: string;
  /** The route that starts a run. One of your own passes the Idempotency-Key on, so that a repeated question is one run. */
  path?: string;
  /** The conversation to go on with; an id that is new begins one. */
  sessionId?: string;
  /** Sent with each request, such as an Authorization. */
  headers?: Record<string, string>;
  /** How often in a row to take up a lost connection without getting anything new. */
  maxRetries?: number;
  /**
   * Where in sessionStorage the id of a run under way is kept, for each session its own. With it, a page that is
   * reloaded attaches to its run again and replays it from the start; the service gives it 30 s to come back
   * (DISCONNECT_GRACE_S).
   */
  storageKey?: string;
  /**
   * Tools that the page runs, by name. They go with each question that has no `client_tools` of its own, and their calls
   * are made as the run comes to them: each once, also when the page is reloaded meanwhile (with `storageKey`).
   */
  clientTools?: Record<string, ClientTool>;
}

export type OnEvent = (event: StreamEvent) => void;

interface Run {
  id: string | null;
  /** What starts the run; null for one that was there already. */
  asked: AgentRequest | null;
  key: string;
  abort: AbortController;
  /** The answer to the latest request for events; once there has been one `id` is known. */
  opening: Promise<unknown>;
  /** The arguments of its calls, by their id. */
  calls: Map<string, Record<string, unknown>>;
}

/** How a run stands, as far as it is looked at here. */
interface RunNow {
  last_seq: number;
  pending?: EventData["waiting"]["pending"];
}

/** What a tool of the page has given. */
interface Outcome {
  content: Json;
  is_error: boolean;
}

/** The calls that this page has made, by run and call, whichever component has asked for them. */
const made = new Map<string, Promise<Outcome>>();

const failed = (content: string): Outcome => ({ content, is_error: true });

async function outcomeOf(tool: ClientTool, args: Record<string, unknown>): Promise<Outcome> {
  try {
    const content = JSON.stringify((await tool.run(args)) ?? null); // also to see that it is JSON
    return { content: JSON.parse(content) as Json, is_error: false };
  } catch (cause) {
    return failed(cause instanceof Error ? cause.message : String(cause));
  }
}

/** A word that nobody else makes. (crypto.randomUUID is there only on HTTPS and localhost.) */
function newKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Starts, follows and stops one run at a time, and shows how it stands. */
class Runner {
  private readonly setState: (change: (state: RunState) => RunState) => void;
  private options: AgentStreamOptions = {};
  private current: Run | null = null;
  private latest: Run | null = null;
  private messages: SessionMessage[] = [];
  private loading = new AbortController();

  constructor(setState: (change: (state: RunState) => RunState) => void) {
    this.setState = setState;
  }

  configure = (options: AgentStreamOptions): void => {
    this.options = options;
  };

  /** Takes up the run that this tab was reading when it was reloaded. Returns what leaves the run alone. */
  mount = (): (() => void) => {
    this.messages = [];
    this.setState(() => IDLE);
    const id = this.storage((storage, key) => storage.getItem(key));
    if (id) void this.follow(this.begin("reconnecting", id, null));
    void this.load();
    return () => {
      this.loading.abort();
      this.current?.abort.abort();
      this.current = null;
    };
  };

  stream = (input: string | AgentRequest, onEvent?: OnEvent): Promise<Complete | null> => {
    const wasGoing = this.current !== null;
    void this.stop();
    const run = this.begin("connecting", null, {
      ...this.inSession(wasGoing),
      ...this.withTools(),
      ...(typeof input === "string" ? { input } : input),
    });
    if (this.options.sessionId !== undefined && run.asked) this.expect(run, run.asked);
    return this.follow(run, onEvent);
  };

  regenerate = async (onEvent?: OnEvent): Promise<Complete | null> => {
    const question = this.messages.findLast(({ role }) => role === "user");
    if (!question?.content) return null;
    const { run_id, content: input } = question;
    const asked = this.latest?.id === (run_id || null) ? this.latest.asked : null;
    const place = run_id ? ({ parent_run_id: run_id, parent_state: "before" } as const) : {}; // else it never arrived
    return this.stream({ ...asked, input, ...place }, onEvent);
  };

  stop = async (): Promise<void> => {
    const run = this.current;
    if (!run) return;
    this.end(run, (state) => ({ ...state, status: "cancelled", pending: [] }));
    if (!run.id) await run.opening.catch(() => null); // before the answer there is no id by which to cancel
    run.abort.abort();
    if (!run.id) return;
    const cancel = this.request(`/api/agent/runs/${run.id}/cancel`, { method: "POST", keepalive: true });
    await cancel.catch(() => null); // out of reach: without a reader the service cancels the run by itself
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

  private send(run: Run | null, tool_call_id: string, outcome: Outcome): Promise<AgentError | null> {
    return this.answer(run, "tool-results", { results: [{ tool_call_id, ...outcome }] });
  }

  /** Sends an answer that the run waits for, again where it may not have arrived: the same one twice is one. */
  private async answer(run: Run | null, path: string, body: object): Promise<AgentError | null> {
    if (!run?.id) return { code: "run_not_waiting", message: "There is no run that waits.", retryable: false };
    const init = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
    for (let tries = 0; ; tries++) {
      const response = await this.request(`/api/agent/runs/${run.id}/${path}`, init).catch(outOfReach);
      if (response instanceof Response && response.ok) return null;
      const { error } = response instanceof Response ? await refusal(response) : response;
      const mayPass = !(response instanceof Response) || response.status === 429 || response.status >= 500;
      if (!mayPass || tries >= (this.options.maxRetries ?? 5) || run.abort.signal.aborted) return error;
      await pause((error.retry_after ?? 0) * 1000 + retryDelay(tries), run.abort.signal);
    }
  }

  private withTools(): Pick<AgentRequest, "client_tools"> {
    const tools = Object.entries(this.options.clientTools ?? {});
    if (tools.length === 0) return {};
    return { client_tools: tools.map(([name, { run: _, ...about }]) => ({ name, ...about })) };
  }

  /** Makes the calls of the page's tools that a run waits for, unless they have been answered since. */
  private async makeCalls(run: Run, { run_id, seq, data }: Extract<StreamEvent, { event: "waiting" }>): Promise<void> {
    const tools = this.options.clientTools ?? {};
    const mine = data.pending.filter(({ kind, name }) => kind === "client" && Object.hasOwn(tools, name));
    if (mine.length === 0) return;
    const isOpen = await this.whatWaits(run_id, seq);
    for (const { tool_call_id, name } of mine) {
      const tool = tools[name];
      if (tool && isOpen(tool_call_id)) void this.makeCall(run, run_id, tool_call_id, tool);
    }
  }

  private async makeCall(run: Run, runId: string, callId: string, tool: ClientTool): Promise<void> {
    const key = `${runId}/${callId}`;
    const outcome = made.get(key) ?? this.makeOnce(key, tool, run.calls.get(callId) ?? {});
    made.set(key, outcome);
    const error = await this.send(run, callId, await outcome);
    if (error && !error.retryable) await this.send(run, callId, failed(`The result can't be sent: ${error.message}`));
  }

  /** Makes a call, unless the page has done so before it was reloaded. */
  private async makeOnce(call: string, tool: ClientTool, args: Record<string, unknown>): Promise<Outcome> {
    const item = (key: string) => `${key}:${call}`;
    const before = this.storage((storage, key) => storage.getItem(item(key)));
    if (before) return JSON.parse(before) as Outcome;
    const note = (storage: Storage, key: string, told: Outcome) => {
      try {
        storage.setItem(item(key), JSON.stringify(told));
      } catch {} // it is full: what was noted before stays
    };
    const unknown = failed("The page was reloaded while this call was being made: it isn't known what it has done.");
    this.storage((storage, key) => note(storage, key, unknown));
    const outcome = await outcomeOf(tool, args);
    this.storage((storage, key) => storage.getItem(item(key)) && note(storage, key, outcome)); // else the run has ended
    return outcome;
  }

  /** Whether a call still waits, of those that the event with that number has told of: a replay tells old ones, too. */
  private async whatWaits(runId: string, seq: number): Promise<(callId: string) => boolean> {
    const response = this.request(`/api/agent/runs/${runId}`, {});
    const run = (await response.then((told) => (told.ok ? told.json() : null)).catch(() => null)) as RunNow | null;
    if (!run || run.last_seq <= seq) return () => true;
    return (callId) => !!run.pending?.some(({ tool_call_id }) => tool_call_id === callId);
  }

  private inSession(wasGoing: boolean): Partial<AgentRequest> {
    const { sessionId } = this.options;
    if (sessionId === undefined) return {};
    return { session_id: sessionId, ...(wasGoing && { multitask: "interrupt" }) }; // one just stopped takes its time to end
  }

  private begin(status: AgentStatus, id: string | null, asked: AgentRequest | null): Run {
    const abort = new AbortController();
    const run: Run = { id, asked, key: newKey(), abort, opening: Promise.resolve(), calls: new Map() };
    this.current = this.latest = run;
    this.setState(({ messages }) => ({ ...IDLE, messages, status, runId: id }));
    return run;
  }

  private async follow(run: Run, onEvent?: OnEvent): Promise<Complete | null> {
    const { signal } = run.abort;
    try {
      const source: Source = {
        open: (after) => (run.opening = run.id ? this.attach(run, run.id, after) : this.start(run)),
        maxRetries: this.options.maxRetries ?? 5,
        signal,
        onConnection: (status) =>
          this.update(run, (state) => {
            const waits = status === "streaming" && state.pending.length > 0;
            return { ...state, status: waits ? "waiting" : status };
          }),
      };
      for await (const events of runEvents(source)) {
        this.learn(run, events[0]?.run_id ?? null);
        this.update(run, (state) => events.reduce(fold, state)); // once for all of them: rendering costs more than reading
        for (const event of events) {
          if (this.current !== run) return null;
          onEvent?.(event);
          if (event.event === "tool_use") run.calls.set(event.data.tool_call_id, event.data.arguments);
          if (event.event === "waiting") void this.makeCalls(run, event);
          if (event.event === "complete") return event.data;
        }
      }
    } catch (cause) {
      if (signal.aborted) return null;
      const mine = cause instanceof RunFailure;
      const error = mine ? cause.error : { code: "callback", message: String(cause), retryable: false };
      this.update(run, (state) => ({ ...state, status: "failed", error }));
      if (!mine) throw cause;
    } finally {
      if (this.current === run) void this.load();
      this.end(run);
    }
    return null;
  }

  private async start(run: Run): Promise<Response> {
    const response = await this.request(this.options.path ?? "/api/agent/stream", {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "application/json", "Idempotency-Key": run.key }, // JSON if refused
      body: JSON.stringify(run.asked),
      signal: run.abort.signal,
    });
    if (isStream(response)) this.learn(run, response.headers.get("X-Run-ID"));
    return response;
  }

  private attach(run: Run, id: string, after: number): Promise<Response> {
    return this.request(`/api/agent/runs/${id}/events`, {
      headers: { "Last-Event-ID": String(after) },
      signal: run.abort.signal,
    });
  }

  /** Shows what the session holds by now. If that can't be had, what was shown stays, until the next run. */
  private async load(): Promise<void> {
    const { sessionId } = this.options;
    if (sessionId === undefined) return;
    this.loading.abort();
    const { signal } = (this.loading = new AbortController());
    const messages: SessionMessage[] = [];
    const query = new URLSearchParams({ limit: "200" });
    try {
      for (let more = true; more; ) {
        const path = `/api/agent/sessions/${encodeURIComponent(sessionId)}/messages?${query}`;
        const response = await this.request(path, { signal });
        if (response.status === 404) break; // nobody has asked anything here
        if (!response.ok) return;
        const page = (await response.json()) as { messages: SessionMessage[]; next_cursor?: string };
        messages.push(...page.messages);
        query.set("cursor", page.next_cursor ?? "");
        more = page.next_cursor !== undefined;
      }
    } catch {
      return;
    }
    if (!signal.aborted) this.show(messages);
  }

  /** Shows a question at once, in its place. Until it is known by a run, `run_id` is empty. */
  private expect(run: Run, { input: content, parent_run_id: parent = "", parent_state }: AgentRequest): void {
    this.loading.abort();
    const arrived = this.messages.filter(({ run_id }) => run_id !== "");
    const runs = arrived.map(({ run_id }) => run_id);
    const place = parent_state === "before" ? runs.indexOf(parent) : runs.lastIndexOf(parent) + 1;
    const before = runs.includes(parent) ? arrived.slice(0, place) : arrived;
    this.show([...before, { message_id: run.key, run_id: "", role: "user", content, status: "queued" }]);
  }

  private show(messages: SessionMessage[]): void {
    this.messages = messages;
    this.setState((state) => ({ ...state, messages }));
  }

  private request(path: string, init: RequestInit): Promise<Response> {
    const { baseUrl = "http://127.0.0.1:8000", headers } = this.options;
    return fetch(baseUrl + path, { ...init, cache: "no-store", headers: { ...headers, ...init.headers } });
  }

  private learn(run: Run, id: string | null): void {
    if (run.id || !id) return;
    run.id = id;
    this.update(run, (state) => ({ ...state, runId: id }));
    if (this.current !== run) return;
    this.storage((storage, key) => storage.setItem(key, id));
    this.show(this.messages.map((message) => (message.message_id === run.key ? { ...message, run_id: id } : message)));
    void this.load();
  }

  /** Shows a change, unless another run has taken this one's place. */
  private update(run: Run, change: (state: RunState) => RunState): void {
    if (this.current === run) this.setState(change);
  }

  private end(run: Run, change: (state: RunState) => RunState = (state) => state): void {
    if (this.current !== run) return;
    this.update(run, change);
    this.current = null;
    this.storage((storage, key) => storage.removeItem(key));
    for (const callId of run.calls.keys()) {
      const call = `${run.id}/${callId}`;
      made.delete(call);
      this.storage((storage, key) => storage.removeItem(`${key}:${call}`));
    }
  }

  private storage<T>(access: (storage: Storage, key: string) => T): T | null {
    const { storageKey, sessionId } = this.options;
    if (storageKey === undefined) return null;
    return access(sessionStorage, sessionId === undefined ? storageKey : `${storageKey}:${sessionId}`);
  }
}

/** What a person changes of a call: with `arguments` the tool is called with these instead. */
export interface Changes {
  arguments?: Record<string, unknown>;
}

export interface AgentStream extends RunState {
  /** Whether a run is under way, or waits. */
  isStreaming: boolean;
  /**
   * Asks the agent; `onEvent` gets each event once and in order. A run that is going is stopped first.
   *
   * Resolves with the data of `complete`, whatever its status; with null when the run was not read to its end, because
   * it was stopped, the component went or it failed here, which `status` and `error` tell. Rejects only with what
   * `onEvent` throws.
   */
  stream: (input: string | AgentRequest, onEvent?: OnEvent) => Promise<Complete | null>;
  /**
   * Asks the session's last question again, in place of its answer; as it was asked, if that was here. Like `stream`, and
   * null without a question.
   */
  regenerate: (onEvent?: OnEvent) => Promise<Complete | null>;
  /** Cancels the run at the service and stops reading. Resolves when the service knows. */
  stop: () => Promise<void>;
  /**
   * Lets a call of `pending` be made; the run goes on once each has its answer. Resolves with null when the service has
   * taken the answer, and else with what is wrong, such as arguments that the tool doesn't take (`details`) or that
   * somebody has answered already (`tool_call_answered`). So do the next two; none of them rejects.
   */
  approve: (callId: string, changes?: Changes) => Promise<AgentError | null>;
  /** Refuses a call of `pending`; the model is told, with the reason. */
  refuse: (callId: string, reason?: string) => Promise<AgentError | null>;
  /** Sends what a call of kind `client` gave, where that isn't done by `clientTools`. */
  sendToolResult: (callId: string, content: Json, how?: { isError?: boolean }) => Promise<AgentError | null>;
}

/** Runs an agent and follows it. When the component goes, reading ends, and the service cancels the run after a grace. */
export function useAgentStream(options: AgentStreamOptions = {}): AgentStream {
  const [state, setState] = useState(IDLE);
  const [runner] = useState(() => new Runner(setState));
  useEffect(() => runner.configure(options));
  useEffect(() => runner.mount(), [runner, options.storageKey, options.sessionId]);
  const isStreaming = ["connecting", "streaming", "waiting", "reconnecting"].includes(state.status);
  const { stream, regenerate, stop, approve, refuse, sendToolResult } = runner;
  return { ...state, isStreaming, stream, regenerate, stop, approve, refuse, sendToolResult };
}

// A page that uses it.

const textOf = (content: Content) =>
  typeof content === "string" ? content : content.map((part) => (part.type === "text" ? part.text : part.url)).join("\n");

interface ApprovalCardProps extends Pick<AgentStream, "approve" | "refuse"> {
  call: PendingCall;
}

/** Asks a person about a call. The arguments can be changed before it is made. */
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
      if (error) setMistake([error.message, ...(error.details ?? []).map(({ message }) => message)].join(" "));
    } catch (cause) {
      setMistake(String(cause)); // the text is no JSON
    }
    setSending(false);
  };
  const changes = (): Changes => (text === written ? {} : { arguments: JSON.parse(text) as Record<string, unknown> });

  return (
    <section aria-label={`Approval of ${call.name}`} style={{ border: "1px solid", borderRadius: 8, padding: "0 1em 1em" }}>
      <h2 style={{ fontSize: "1em" }}>
        May the agent call <code>{call.name}</code>?
      </h2>
      <textarea
        aria-label="Arguments"
        rows={written.split("\n").length}
        style={{ display: "block", width: "100%", boxSizing: "border-box", marginBottom: "1em" }}
        value={text}
        onChange={(change) => setText(change.target.value)}
      />
      <button type="button" disabled={isSending} onClick={() => void send(async () => approve(call.tool_call_id, changes()))}>
        Approve
      </button>{" "}
      <button type="button" disabled={isSending} onClick={() => void send(() => refuse(call.tool_call_id))}>
        Refuse
      </button>{" "}
      {call.expires_at && <small>Refused by itself at {new Date(call.expires_at).toLocaleString()}.</small>}
      {mistake && <div role="alert">{mistake}</div>}
    </section>
  );
}

/** What has become of a call so far. */
function CallOutcome({ approval_response: decided, progress, result }: ToolCall) {
  if (result) return <>{(result.is_error ? "failed: " : "gave ") + result.content}</>;
  if (progress) {
    const { message, progress: value, total: max } = progress;
    return (
      <>
        {message} {max !== undefined && <progress value={value} max={max} />}
      </>
    );
  }
  return <>{decided && (decided.approved ? "approved" : "refused")}</>;
}

export default function AgentChat(options: AgentStreamOptions) {
  const agent = useAgentStream({ storageKey: "agent-stream-run", ...options });
  const { stream, regenerate, stop, approve, refuse, isStreaming, status } = agent;
  const { messages, runId, thinking, output, toolCalls, pending, error } = agent;
  const [question, setQuestion] = useState("");
  const isKept = messages.some(({ run_id, role }) => run_id === runId && role === "assistant");

  return (
    <main>
      {messages.map(
        ({ message_id, role, content }) =>
          content !== null &&
          role !== "tool" && (
            <p key={message_id} style={{ whiteSpace: "pre-wrap", fontWeight: role === "user" ? "bold" : "normal" }}>
              {textOf(content)}
            </p>
          ),
      )}
      {thinking && (
        <details>
          <summary>Thinking</summary>
          <p style={{ whiteSpace: "pre-wrap" }}>{thinking}</p>
        </details>
      )}
      <ul>
        {toolCalls.map((call) => (
          <li key={call.tool_call_id}>
            <code>
              {call.name} {call.arguments_text}
            </code>{" "}
            <CallOutcome {...call} />
          </li>
        ))}
      </ul>
      {pending
        .filter(({ kind }) => kind === "approval")
        .map((call) => (
          <ApprovalCard key={call.tool_call_id} call={call} approve={approve} refuse={refuse} />
        ))}
      <p style={{ whiteSpace: "pre-wrap" }} aria-live="polite" aria-busy={isStreaming}>
        {!isKept && output}
      </p>
      {error && (
        <p role="alert">
          {error.message} ({error.code})
        </p>
      )}
      <form
        onSubmit={(submit) => {
          submit.preventDefault();
          void stream(question);
          if (options.sessionId !== undefined) setQuestion("");
        }}
      >
        <input
          aria-label="Question"
          placeholder="Ask the agent"
          required
          value={question}
          onChange={(change) => setQuestion(change.target.value)}
        />
        <button type="submit">Ask</button>
        <button type="button" disabled={!isStreaming} onClick={() => void stop()}>
          Stop
        </button>
        {messages.length > 0 && (
          <button type="button" disabled={isStreaming} onClick={() => void regenerate()}>
            Ask again
          </button>
        )}
        <small role="status">{status}</small>
      </form>
    </main>
  );
}
