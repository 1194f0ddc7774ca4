// The hook in a page, against the live service at AGENT_STREAM_URL, and against
// servers that break off in ways in which the service never would.
import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text as bodyOf } from "node:stream/consumers";
import { test, type TestContext } from "node:test";
import { act, Activity, StrictMode, useEffect, type ReactElement } from "react";
import { createRoot } from "react-dom/client";
import {
  type AgentRequest,
  type AgentStreamState,
  type ConversationOptions,
  type EventData,
  explain,
  type Message,
  type Scenario,
  type StreamEvent,
  useAgentStream,
} from "agent-stream/react";
import AgentChat from "../../../examples/react_integration";

const baseUrl = process.env["AGENT_STREAM_URL"] ?? "";
const simulate = { baseUrl, path: "/api/agent/stream/simulate" };
const scenario = (name: Scenario, delay_ms = 0) => ({ input: "Is it cold?", scenario: name, delay_ms });

// The page

/** React flushes what `act` does at once; outside of it, it renders as in a browser. */
async function acting(work: () => void): Promise<void> {
  Object.assign(globalThis, { IS_REACT_ACT_ENVIRONMENT: true });
  await act(async () => work());
  Object.assign(globalThis, { IS_REACT_ACT_ENVIRONMENT: false });
}

async function mount(t: TestContext, element: ReactElement): Promise<HTMLElement> {
  const container = document.createElement("div");
  const root = createRoot(container);
  document.body.append(container);
  await acting(() => root.render(element));
  t.after(() => acting(() => root.unmount()));
  return container;
}

/** The hook in a component: each of its renders, and the first render from now on that is as wanted. */
async function mountHook(t: TestContext, options: ConversationOptions) {
  const renders: AgentStreamState[] = [];
  let look = () => {};
  function Probe() {
    const agent = useAgentStream(options);
    renders.push(agent);
    useEffect(() => look());
    return null;
  }
  const root = createRoot(document.createElement("div"));
  const show = (alive: boolean) => acting(() => root.render(<StrictMode>{alive && <Probe />}</StrictMode>));
  await show(true);
  t.after(() => acting(() => root.unmount()));
  const now = () => renders.at(-1)!;
  const until = (wanted: (agent: AgentStreamState) => boolean) =>
    new Promise<AgentStreamState>((resolve) => {
      look = () => {
        if (wanted(now())) resolve(now());
      };
      look();
    });
  return { renders, now, until, leave: () => show(false), comeBack: () => show(true) };
}

const ended = ({ status, isStreaming }: AgentStreamState) => !["idle", "stopping"].includes(status) && !isStreaming;
const seen = (renders: AgentStreamState[], wanted: AgentStreamState["status"]) => renders.some(({ status }) => status === wanted);

/** Runs a scenario to its end: the hook's last state, the events and what `stream` resolved with. */
async function run(t: TestContext, request: ReturnType<typeof scenario>) {
  const page = await mountHook(t, simulate);
  const events: StreamEvent[] = [];
  const complete = await page.now().stream(request, (event) => events.push(event));
  const agent = await page.until(ended);
  assert.deepEqual(
    events.map(({ seq }) => seq),
    events.map((_, i) => i + 1),
  );
  assert.equal(events.at(-1)?.event, "complete");
  return { ...page, agent, events, complete };
}

/** Ends each pause before another try at once, as a page does that is online again. */
function hurry(t: TestContext): void {
  const online = setInterval(() => window.dispatchEvent(new window.Event("online")), 10);
  t.after(() => clearInterval(online));
}

// Servers that misbehave

type Answer = (response: ServerResponse, request: IncomingMessage) => void;

const frame = <Name extends keyof EventData>(seq: number, event: Name, data: Omit<EventData[Name], "arguments_text">) =>
  `id: ${seq}\nevent: ${event}\ndata: ${JSON.stringify({ event, data, run_id: "run_1", seq, timestamp: "" })}\n\n`;

const started = frame(1, "run_started", { model: "a/b" });
const text = (seq: number, content: string) => frame(seq, "partial_output", { content });
const usage = { input_tokens: null, output_tokens: null, total_tokens: null };
const completed = (seq: number) => frame(seq, "complete", { status: "succeeded", usage, steps: 1, duration_ms: 1 });

const drop: Answer = (response) => response.destroy();

const stream =
  (...writes: string[]): Answer =>
  (response) => {
    response.writeHead(200, { "Content-Type": "text/event-stream", "X-Run-ID": "run_1" });
    for (const data of writes) response.write(data);
    response.end();
  };

const refuse =
  (status: number, code: string, headers: Record<string, string> = {}): Answer =>
  (response) => {
    response.writeHead(status, { "Content-Type": "application/json", ...headers });
    response.end(JSON.stringify({ error: { code, message: "No.", retryable: false, request_id: "req_1" } }));
  };

/** A server that gives its answers one after the other, the last one again and again. */
async function serve(t: TestContext, ...answers: Answer[]) {
  const requests: { line: string; after?: unknown; key?: unknown; body: AgentRequest | null; at: number }[] = [];
  const server = createServer(async (request, response) => {
    const { "last-event-id": after, "idempotency-key": key } = request.headers;
    const body = JSON.parse((await bodyOf(request)) || "null") as AgentRequest | null;
    requests.push({ line: `${request.method} ${request.url}`, after, key, body, at: performance.now() });
    answers[Math.min(requests.length, answers.length) - 1]!(response, request);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const close = async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  t.after(close);
  return { url: `http://127.0.0.1:${port}`, requests, close };
}

/** What a service answers whose run waits for a call: `answers` are its answers to what is sent to it meanwhile. */
function waits(kind: "approval" | "client", name: string, ...answers: Answer[]): Answer {
  const call = { tool_call_id: "call/1", name, arguments: { city: "Oslo" } };
  const events = [
    started,
    frame(2, "tool_use", { ...call, source: kind === "client" ? "client" : "python" }),
    frame(3, "waiting", { pending: [{ tool_call_id: "call/1", name, kind }] }),
  ];
  return (response, request) => {
    if (request.url === "/api/agent/runs/run_1") {
      const last_seq = answers.length > 0 ? 3 : 4;
      response.setHeader("Content-Type", "application/json").end(JSON.stringify({ last_seq }));
    } else if (request.url === "/api/agent/stream") {
      response.writeHead(200, { "Content-Type": "text/event-stream", "X-Run-ID": "run_1" });
      response.write(events.join("")); // it stays open
    } else if (request.url === "/api/agent/runs/run_1/events") {
      stream(completed(4))(response, request);
    } else {
      answers.shift()!(response, request);
    }
  };
}

/** The requests that are answers to a run that waits. */
const answersAmong = <R extends { line: string }>(requests: R[]) =>
  requests.filter(({ line }) => line.startsWith("POST /api/agent/runs/"));

/** What a question says in a session. */
const kept = { on_disconnect: "continue", session_id: "chat-1", multitask: "reject" } as const;

/** The response to a cancellation, with the status of the run. */
const cancelledAs =
  (status: string): Answer =>
  (response) => void response.writeHead(202, { "Content-Type": "application/json" }).end(JSON.stringify({ status }));

const taken: Answer = (response) => response.writeHead(202).end("{}");

async function endOf(runId: string): Promise<string> {
  return (await fetch(`${baseUrl}/api/agent/runs/${runId}/events`)).text();
}

// Against the service

test("a run is shown as it goes and resolves with its `complete`", async (t) => {
  const { agent, events, complete, renders } = await run(t, scenario("default"));
  assert.equal(complete?.status, "succeeded");
  assert.equal(agent.status, "succeeded");
  assert.ok(!seen(renders, "reconnecting"));
  assert.equal(agent.runId, events[0]?.run_id);
  assert.match(agent.thinking, /weather/);
  assert.match(agent.output, /You asked: Is it cold\?.*❄️/);
  for (const event of events) if (event.event === "final_output") assert.equal(agent.output, event.data.content);
  assert.equal(agent.error, null);
  const [call, ...others] = agent.toolCalls;
  assert.deepEqual(others, []);
  assert.deepEqual(call?.arguments, { city: "Oslo" });
  assert.deepEqual(JSON.parse(call?.arguments_text ?? ""), { city: "Oslo" });
  assert.equal(call?.progress?.message, "Asking the weather service");
  assert.equal(call?.result?.is_error, false);
});

test("a torn run is taken up where it broke and ends as if it had not been torn", async (t) => {
  hurry(t);
  const whole = await run(t, scenario("default"));
  const torn = await run(t, scenario("truncated"));
  assert.equal(torn.agent.status, "succeeded");
  assert.ok(seen(torn.renders, "reconnecting"));
  const said = (events: StreamEvent[]) => events.slice(0, -1).map(({ event, data }) => [event, data]); // `complete` has times
  assert.deepEqual(said(torn.events), said(whole.events));
  for (const key of ["output", "thinking", "toolCalls"] as const) assert.deepEqual(torn.agent[key], whole.agent[key]);
});

test("a failed run resolves with its `complete` and shows its error", async (t) => {
  const { agent, complete } = await run(t, scenario("error"));
  assert.equal(complete?.status, "failed");
  assert.equal(agent.status, "failed");
  assert.equal(agent.error?.code, "upstream_failed");
  assert.match(agent.output, /I was about to/);
});

test("stop() cancels the run at the service", async (t) => {
  const page = await mountHook(t, simulate);
  const answer = page.now().stream(scenario("long", 20));
  const { runId, stop, status } = await page.until(({ output }) => output !== "");
  assert.equal(status, "streaming");
  await stop();
  assert.equal(await answer, null);
  assert.equal((await page.until(ended)).status, "cancelled");
  assert.match(await endOf(runId!), /"event":"complete","data":\{"status":"cancelled"/);
});

test("stop() cancels at the service the run of a question whose response was lost", async (t) => {
  const started: string[] = [];
  const losing: typeof fetch = async (url, init) => {
    const response = await fetch(url, init);
    const runId = response.headers.get("X-Run-ID");
    if (!runId || started.push(runId) > 1) return response;
    await response.body?.cancel();
    throw new TypeError("The connection broke.");
  };
  const page = await mountHook(t, { ...simulate, fetch: losing, storageKey: "run" });
  void page.now().stream(scenario("long", 20));
  await page.until(({ status, error }) => status === "connecting" && error !== null);
  const stopped = page.now().stop();
  hurry(t);
  await stopped;
  const { status, runId } = await page.until(ended);
  assert.deepEqual([status, new Set(started)], ["cancelled", new Set([runId])]);
  assert.match(await endOf(runId!), /"event":"complete","data":\{"status":"cancelled"/);
});

test("a second question ends the first one's run and shows nothing more of it", async (t) => {
  const page = await mountHook(t, simulate);
  const first: StreamEvent[] = [];
  const answer = page.now().stream(scenario("long", 20), (event) => first.push(event));
  const { runId } = await page.until(({ output }) => output !== "");
  const given = first.length;
  const second = await page.now().stream(scenario("default"));
  assert.equal(await answer, null);
  assert.equal(second?.status, "succeeded");
  assert.match((await page.until(ended)).output, /^You asked/);
  assert.equal(first.length, given);
  assert.match(await endOf(runId!), /"event":"complete","data":\{"status":"cancelled"/);
});

test("a page that comes back replays its run from the start", async (t) => {
  const page = await mountHook(t, { ...simulate, storageKey: "run" });
  const answer = page.now().stream(scenario("default", 20));
  const { runId } = await page.until(({ thinking }) => thinking !== "");
  assert.equal(sessionStorage.getItem("run"), runId);
  await page.leave();
  assert.equal(await answer, null);
  await page.comeBack();
  const agent = await page.until(({ status }) => status === "succeeded");
  assert.equal(agent.runId, runId);
  assert.match(agent.thinking, /^The user asks about the weather/);
  assert.match(agent.output, /^You asked: Is it cold\?.*❄️$/);
  assert.equal(agent.toolCalls.length, 1);
  assert.equal(sessionStorage.getItem("run"), null);
});

test("a session's messages are shown after each run, asked again, and after a reload", async (t) => {
  const sessionId = `chat-${performance.timeOrigin}`;
  const page = await mountHook(t, { baseUrl, sessionId, storageKey: "run" });
  const said = ({ messages }: AgentStreamState) => messages.map(({ role, content }) => [role, content]);
  const turn = (question: string) => [
    ["user", question],
    ["assistant", "Hello world"],
  ];
  await page.now().stream("One?", () => assert.ok(sessionStorage.getItem(`run:${sessionId}`)));
  assert.deepEqual(said(await page.until(({ messages }) => messages.length === 2)), turn("One?"));
  await page.now().stream("Two?");
  const before = await page.until(({ messages }) => messages.length === 4);
  assert.deepEqual(said(before), [...turn("One?"), ...turn("Two?")]);
  await page.now().regenerate();
  const again = await page.until(({ messages, runId }) => messages[3]?.run_id === runId);
  assert.deepEqual(said(again), said(before));
  const kept = ({ run_id, role, content, parts, status }: Message) => ({ run_id, role, content, parts, status });
  assert.deepEqual(again.messages.slice(0, 2).map(kept), before.messages.slice(0, 2).map(kept));
  assert.notEqual(again.runId, before.runId);
  await page.leave();
  await page.comeBack();
  const after = await page.until(({ messages }) => messages.length > 0);
  assert.deepEqual(after.messages.map(kept), again.messages.map(kept));
});

// Runs that wait

const waiting = ({ status }: AgentStreamState) => status === "waiting";
const locating = { ...scenario("client_tool"), client_tools: undefined } as object as AgentRequest; // a script takes none

type Decide = (agent: AgentStreamState, callId: string) => Promise<unknown>;
const decisions: [string, Decide, RegExp, { approved: boolean; [key: string]: unknown }][] = [
  ["approved", (agent, id) => agent.approve(id), /I deleted the folder drafts/, { approved: true }],
  [
    "approved with other arguments",
    (agent, id) => agent.approve(id, { arguments: { folder: "spam" } }),
    /I deleted the folder spam/,
    { approved: true, arguments: { folder: "spam" }, arguments_text: '{"folder":"spam"}' },
  ],
  ["refused", (agent, id) => agent.refuse(id), /I left the folder/, { approved: false }],
  [
    "refused with a reason",
    (agent, id) => agent.refuse(id, "Not on a Friday."),
    /I left the folder/,
    { approved: false, reason: "Not on a Friday." },
  ],
];

for (const [how, decide, said, response] of decisions) {
  test(`a call that waits for a person is ${how}, and the run resumes`, async (t) => {
    const page = await mountHook(t, simulate);
    const answer = page.now().stream(scenario("approval"));
    const { pending, toolCalls, isStreaming } = await page.until(waiting);
    const tool_call_id = toolCalls[0]!.tool_call_id;
    const { expires_at } = toolCalls[0]!.approval_request!;
    const drafts = { arguments: { folder: "drafts" }, arguments_text: '{"folder":"drafts"}' };
    const call = { tool_call_id, name: "delete_folder", kind: "approval", ...drafts, expires_at };
    assert.deepEqual([pending, isStreaming], [[call], true]);
    assert.equal(await decide(page.now(), tool_call_id), null);
    assert.equal((await answer)?.status, "succeeded");
    const agent = await page.until(ended);
    assert.match(agent.output, said);
    assert.deepEqual(agent.pending, []);
    assert.deepEqual(agent.toolCalls[0]?.approval_response, { tool_call_id, ...response });
  });
}

const budgets: [string, (agent: AgentStreamState) => Promise<unknown>, AgentStreamState["status"], string | undefined][] = [
  ["raised", (agent) => agent.raiseBudget({ max_total_tokens: 200 }), "succeeded", undefined],
  ["not raised", (agent) => agent.refuseBudget(), "failed", "budget_exceeded"],
];

for (const [how, decide, status, code] of budgets) {
  test(`a budget that is spent is ${how}, also by a page that comes back`, async (t) => {
    const page = await mountHook(t, { ...simulate, storageKey: "run" });
    void page.now().stream(scenario("budget"));
    const before = await page.until(waiting);
    await page.leave();
    await page.comeBack();
    const { budget, pending, isStreaming } = await page.until(waiting);
    assert.deepEqual([budget, pending, isStreaming], [before.budget, [], true]);
    assert.deepEqual([budget?.spent_tokens, budget?.max_total_tokens], [64, 80]);
    assert.equal((await page.now().raiseBudget({ max_total_tokens: 64 }))?.details?.[0]?.loc, "max_total_tokens");
    assert.equal(await decide(page.now()), null);
    const agent = await page.until(ended);
    assert.deepEqual([agent.status, agent.error?.code, agent.budget], [status, code, null]);
  });
}

test("an answer that can't count resolves with what is wrong", async (t) => {
  const page = await mountHook(t, simulate);
  assert.equal((await page.now().approve("call_1"))?.code, "run_not_waiting");
  const answer = page.now().stream(scenario("approval"));
  const { pending } = await page.until(waiting);
  assert.equal((await page.now().sendToolResult(pending[0]!.tool_call_id, "x"))?.code, "tool_call_not_found");
  const both = { approved: false, arguments: {} };
  const refused = await fetch(`${baseUrl}/api/agent/runs/${page.now().runId}/approvals/${pending[0]!.tool_call_id}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(both),
  });
  assert.equal(refused.status, 422);
  assert.equal(page.now().status, "waiting");
  await page.now().stop();
  assert.equal(await answer, null);
  const { status, pending: left } = await page.until(ended);
  assert.deepEqual([status, left], ["cancelled", []]);
});

test("a page that comes back while its run waits shows the call again, unless it is answered", async (t) => {
  const page = await mountHook(t, { ...simulate, storageKey: "run" });
  void page.now().stream(scenario("approval"));
  const before = await page.until(waiting);
  await page.leave();
  await page.comeBack();
  const again = await page.until(waiting);
  assert.deepEqual([again.runId, again.pending], [before.runId, before.pending]);
  await page.leave();
  const [call] = before.pending;
  await fetch(`${baseUrl}/api/agent/runs/${before.runId}/approvals/${call!.tool_call_id}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: '{"approved": true}',
  });
  await page.comeBack();
  const agent = await page.until(({ status }) => status === "succeeded");
  assert.match(agent.output, /I deleted the folder drafts/);
  assert.deepEqual(agent.pending, []);
});

test("a tool of the page runs once, and its result goes to the run", async (t) => {
  const calls: unknown[] = [];
  const run = (args: Record<string, unknown>) => {
    calls.push(args);
    return "Bergen";
  };
  const page = await mountHook(t, { ...simulate, clientTools: { get_location: { run } } });
  assert.equal((await page.now().stream(locating))?.status, "succeeded");
  const agent = await page.until(ended);
  assert.equal(agent.output, "Your page says where you are: Bergen");
  assert.deepEqual(calls, [{}]);
  assert.deepEqual([agent.toolCalls[0]?.source, agent.toolCalls[0]?.result?.is_error], ["client", false]);
});

test("what a tool of the page throws is its call's error, as is what is no JSON", async (t) => {
  const clientTools = {
    get_location: {
      run: async () => {
        throw new Error("The user said no.");
      },
    },
  };
  const page = await mountHook(t, { ...simulate, clientTools });
  await page.now().stream(locating);
  const { toolCalls } = await page.until(ended);
  assert.deepEqual([toolCalls[0]?.result?.content, toolCalls[0]?.result?.is_error], ["The user said no.", true]);
  const other = await mountHook(t, { ...simulate, clientTools: { get_location: { run: () => () => {} } } });
  await other.now().stream(locating);
  assert.equal((await other.until(ended)).toolCalls[0]?.result?.is_error, true);
});

test("a tool of the page that runs while its component goes and comes back runs once", async (t) => {
  const { promise: called, resolve: call } = Promise.withResolvers<void>();
  const { promise: result, resolve: give } = Promise.withResolvers<string>();
  let calls = 0;
  const run = () => {
    calls += 1;
    call();
    return result;
  };
  const page = await mountHook(t, { ...simulate, storageKey: "run", clientTools: { get_location: { run } } });
  void page.now().stream(locating);
  await called;
  const { runId } = page.now();
  await page.leave();
  await page.comeBack();
  await page.until(waiting);
  give("Bergen");
  const agent = await page.until(({ status }) => status === "succeeded");
  assert.equal(agent.runId, runId);
  assert.equal(agent.output, "Your page says where you are: Bergen");
  assert.equal(calls, 1);
  assert.equal(sessionStorage.length, 0);
});

test("a tool of the page doesn't run for a call that has been answered since", async (t) => {
  const before = await mountHook(t, { ...simulate, storageKey: "run" });
  void before.now().stream(locating);
  const { runId, pending } = await before.until(waiting); // nobody runs it
  assert.equal(await before.now().sendToolResult(pending[0]!.tool_call_id, { lat: 60.4 }), null);
  await before.until(ended);
  sessionStorage.setItem("run", runId!);
  const run = () => assert.fail("it was called");
  const after = await mountHook(t, { ...simulate, storageKey: "run", clientTools: { get_location: { run } } });
  const agent = await after.until(({ status }) => status === "succeeded");
  assert.equal(agent.output, 'Your page says where you are: {"lat":60.4}');
});

test("a tool's progress is shown with its call", async (t) => {
  const page = await mountHook(t, simulate);
  const answer = page.now().stream(scenario("progress", 5));
  const { toolCalls } = await page.until((agent) => agent.toolCalls[0]?.progress !== undefined);
  const { message, progress, total } = toolCalls[0]!.progress!;
  assert.equal(message, `Archived ${progress} of ${total} messages`);
  await answer;
  assert.equal((await page.until(ended)).toolCalls[0]?.progress?.progress, 120);
});

test("the service's refusal is the error", async (t) => {
  const page = await mountHook(t, { baseUrl });
  assert.equal(await page.now().stream({ input: "Hello", max_steps: 0 }), null);
  const { status, error } = await page.until(ended);
  assert.equal(status, "failed");
  assert.equal(error?.code, "invalid_request");
  assert.equal(error?.details?.[0]?.loc, "body.max_steps");
});

test("end users read what is wrong with a request, and nothing that is meant for developers", () => {
  const about = { retryable: false, request_id: "req_1" };
  const details = [{ loc: "body.max_steps", message: "must be at least 1" }];
  const invalid = { ...about, code: "invalid_request", message: "The request is not valid. See details.", details };
  assert.equal(explain(invalid), "must be at least 1 (body.max_steps)");
  const busy = { ...about, code: "session_busy", message: "Say with `multitask` what is to be done.", run_id: "run_1" };
  assert.match(explain(busy), /^This conversation is still being answered/);
  assert.equal(explain({ ...about, code: "upstream_failed", message: "The model failed." }), "The model failed.");
});

test("a question as plain text goes to the agent", async (t) => {
  const page = await mountHook(t, { baseUrl });
  let final = "";
  const complete = await page.now().stream("Research AI", (event) => {
    if (event.event === "final_output") final = event.data.content;
  });
  assert.equal(complete?.status, "succeeded");
  assert.equal((await page.until(ended)).output, final);
  assert.notEqual(final, "");
});

/** Asks a question in the example's component, and waits for a status. */
async function askIn(page: HTMLElement, question: string, wanted: string): Promise<HTMLInputElement> {
  const input = page.querySelector("input")!;
  Object.getOwnPropertyDescriptor(Object.getPrototypeOf(input), "value")!.set!.call(input, question);
  await acting(() => input.dispatchEvent(new window.Event("input", { bubbles: true })));
  const done = untilStatus(page, wanted);
  await acting(() => page.querySelector<HTMLElement>("[type=submit]")!.click());
  await done;
  return input;
}

function untilStatus(page: HTMLElement, wanted: string): Promise<void> {
  const status = page.querySelector<HTMLElement>("[role=status]")!;
  return new Promise((resolve) => {
    const look = () => status.textContent === wanted && resolve();
    new window.MutationObserver(look).observe(status, { subtree: true, characterData: true });
  });
}

test("the example's component asks and shows the answer", async (t) => {
  const page = await mount(t, <AgentChat {...simulate} />);
  const input = await askIn(page, "Is it cold?", "succeeded");
  assert.equal(input.value, "");
  const [asked, answer, ...others] = page.querySelectorAll("p");
  assert.deepEqual([asked?.textContent, others], ["Is it cold?", []]);
  assert.match(answer!.textContent, /^You asked: Is it cold\?/);
  const [thinking, call] = page.querySelectorAll("details");
  assert.match(thinking!.textContent, /^Thinking.*weather/);
  assert.match(call!.textContent, /^get_weather done.*\{"city":"Oslo"\}.*snow/);
});

// Against servers that misbehave

test("a question whose connection broke is sent again with its key, and another one has another", async (t) => {
  hurry(t);
  const { url, requests } = await serve(t, drop, stream(started, text(2, "Hello"), completed(3)));
  const page = await mountHook(t, { baseUrl: url });
  const given: number[] = [];
  assert.equal((await page.now().stream("Hello", ({ seq }) => given.push(seq)))?.status, "succeeded");
  assert.deepEqual(given, [1, 2, 3]);
  assert.equal((await page.now().stream("Hello"))?.status, "succeeded");
  assert.ok(requests.every(({ line }) => line === "POST /api/agent/stream"));
  const [first, repeated, other] = requests.map(({ key }) => key);
  assert.match(String(first), /^[0-9a-f]{32}$/);
  assert.equal(repeated, first);
  assert.notEqual(other, first);
});

test("a question is sent again to a server that says when, or that is not there behind its proxy", async (t) => {
  hurry(t);
  const gateway: Answer = (response) => response.writeHead(502, { "Content-Type": "text/html" }).end("<h1>Bad</h1>");
  const full = refuse(503, "server_full", { "Retry-After": "1" });
  const route = refuse(503, "service_unreachable"); // as the route of the Next.js example reports it
  const { url, requests } = await serve(t, gateway, route, full, stream(started, completed(2)));
  const page = await mountHook(t, { baseUrl: url });
  assert.equal((await page.now().stream("Hello"))?.status, "succeeded");
  assert.equal(new Set(requests.map(({ key }) => key)).size, 1);
  assert.ok(requests[3]!.at - requests[2]!.at >= 1000);
});

test("what the service says to a question is else the answer to it", async (t) => {
  const { url, requests } = await serve(t, refuse(502, "upstream_failed"));
  const page = await mountHook(t, { baseUrl: url });
  assert.equal(await page.now().stream("Hello"), null);
  assert.equal((await page.until(ended)).error?.code, "upstream_failed");
  assert.equal(requests.length, 1);
});

test("stop() of a question whose response was lost learns the id of its run, and cancels it", async (t) => {
  const begun: Answer = (response) => void response.writeHead(202, { "X-Run-ID": "run_1" }).end("{}");
  const { url, requests } = await serve(t, drop, begun, cancelledAs("running"));
  const page = await mountHook(t, { baseUrl: url });
  const answer = page.now().stream("Hello", () => assert.fail("an event of a stopped run"));
  await page.until(({ status, error }) => status === "connecting" && error !== null);
  const stopped = page.now().stop();
  hurry(t);
  await stopped;
  assert.equal(await answer, null);
  const { status, error, messages } = await page.until(ended);
  assert.deepEqual([status, error], ["cancelled", null]);
  assert.deepEqual(
    messages.map(({ role, run_id, status }) => [role, run_id, status]),
    [
      ["user", "run_1", "cancelled"],
      ["assistant", "run_1", "cancelled"],
    ],
  );
  const [first, again, cancel, ...others] = requests;
  assert.deepEqual([again?.line, again?.key, again?.body], [`${first?.line}?wait=false`, first?.key, first?.body]);
  assert.deepEqual([cancel?.line, others], ["POST /api/agent/runs/run_1/cancel", []]);
});

test("stop() of a run that had ended before shows its own end", async (t) => {
  const whole = stream(started, text(2, "Hello"), completed(3));
  const { url } = await serve(t, drop, whole, cancelledAs("succeeded"), whole);
  const page = await mountHook(t, { baseUrl: url });
  const answer = page.now().stream("Hello", () => assert.fail("an event of a stopped run"));
  await page.until(({ status, error }) => status === "connecting" && error !== null);
  const stopped = page.now().stop();
  hurry(t);
  await stopped;
  assert.equal(await answer, null);
  const { output, error, messages } = await page.until(({ status }) => status === "succeeded");
  assert.deepEqual([output, error, messages.map(({ status }) => status)], ["Hello", null, ["succeeded", "succeeded"]]);
  assert.ok(!seen(page.renders, "cancelled"));
});

test("stop() of a lost question without a run reports no error, although another question is under way", async (t) => {
  const { url, requests } = await serve(t, drop, refuse(409, "session_busy"));
  const page = await mountHook(t, { baseUrl: url });
  void page.now().stream("Hello");
  await page.until(({ status, error }) => status === "connecting" && error !== null);
  const stopped = page.now().stop();
  hurry(t);
  await stopped;
  const { status, error } = await page.until(ended);
  assert.deepEqual([status, error, requests.length], ["cancelled", null, 2]);
});

test("stop() doesn't ask a question again that the service itself has refused for now", async (t) => {
  const { url, requests } = await serve(t, refuse(503, "server_full", { "Retry-After": "60" }));
  const page = await mountHook(t, { baseUrl: url });
  const answer = page.now().stream("Hello");
  await page.until(({ status, error }) => status === "connecting" && error !== null);
  await page.now().stop();
  assert.equal(await answer, null);
  assert.equal((await page.until(ended)).status, "cancelled");
  assert.equal(requests.length, 1);
});

test("stop() right after stream() sends nothing at all", async (t) => {
  const { url, requests } = await serve(t, drop);
  const page = await mountHook(t, { baseUrl: url });
  const answer = page.now().stream("Hello");
  await page.now().stop();
  assert.equal(await answer, null);
  assert.equal((await page.until(ended)).status, "cancelled");
  assert.deepEqual(requests, []);
});

test("an answer whose connection broke, or that a full server didn't take, is sent again", async (t) => {
  hurry(t);
  const { url, requests } = await serve(
    t,
    waits("approval", "delete", drop, refuse(503, "server_full", { "Retry-After": "1" }), taken),
  );
  const page = await mountHook(t, { baseUrl: url });
  const answer = page.now().stream("Hello");
  await page.until(waiting);
  assert.equal(await page.now().approve("call/1"), null);
  assert.equal((await answer)?.status, "succeeded");
  const [first, second, third, ...others] = answersAmong(requests);
  assert.deepEqual(others, []);
  assert.ok([first, second, third].every((sent) => sent?.line === "POST /api/agent/runs/run_1/approvals/call%2F1"));
  assert.ok([first, second, third].every((sent) => JSON.stringify(sent?.body) === '{"approved":true}'));
  assert.ok(third!.at - second!.at >= 1000);
});

test("a tool of the page goes with the question and gets its arguments; a result that isn't taken is an error", async (t) => {
  const refused = refuse(413, "body_too_large");
  const { url, requests } = await serve(t, waits("client", "weather", refused, taken));
  const about = { description: "The weather.", parameters: { type: "object" } };
  const run = (args: Record<string, unknown>) => `It snows in ${args["city"]}.`;
  const page = await mountHook(t, { baseUrl: url, clientTools: { weather: { ...about, run } } });
  assert.equal((await page.now().stream("Hello"))?.status, "succeeded");
  const asked = requests[0]?.body as unknown;
  const [sent, again] = answersAmong(requests).map(({ body }) => body as unknown);
  const result = (content: string, is_error: boolean) => ({ results: [{ tool_call_id: "call/1", content, is_error }] });
  assert.deepEqual(asked, { input: "Hello", client_tools: [{ name: "weather", ...about }] });
  assert.deepEqual(sent, result("It snows in Oslo.", false));
  assert.deepEqual(again, result("The result can't be sent: No.", true));
});

test("a key of a question that is undefined counts as left out", async (t) => {
  const { url, requests } = await serve(t, stream(started, completed(2)));
  const page = await mountHook(t, { baseUrl: url, sessionId: undefined, storageKey: "run" });
  await page.now().stream({ input: "Hello", model: undefined, on_disconnect: undefined });
  assert.deepEqual(requests[0]?.body, { on_disconnect: "continue", input: "Hello" });
});

test("in a session, a question that replaces one under way interrupts it", async (t) => {
  const going: Answer = (response) => {
    response.writeHead(200, { "Content-Type": "text/event-stream", "X-Run-ID": "run_1" }).write(started);
  };
  const { url, requests } = await serve(t, (response, request) => {
    if (request.method !== "POST") return; // the conversation's messages don't come
    if (requests.at(-1)?.body?.input === "One?") going(response, request);
    else stream(started, completed(2))(response, request);
  });
  const page = await mountHook(t, { baseUrl: url, sessionId: "chat-1" });
  const first = page.now().stream("One?");
  await page.until(({ messages }) => messages[0]?.content === "One?"); // at once, and known by its run soon
  await page.until(({ messages, status }) => status === "streaming" && messages[0]?.run_id === "run_1");
  assert.equal((await page.now().stream({ input: "Two?", model: "a/b" }))?.status, "succeeded");
  assert.equal(await first, null);
  const asked = requests.flatMap(({ line, body }) => (line === "POST /api/agent/stream" ? [body] : []));
  assert.deepEqual(asked, [
    { ...kept, input: "One?" },
    { ...kept, multitask: "interrupt", input: "Two?", model: "a/b" },
  ]);
});

test("a question that did not arrive stays, and can be asked again as it was", async (t) => {
  const { url, requests } = await serve(t, drop);
  const page = await mountHook(t, { baseUrl: url, sessionId: "chat-1", maxRetries: 0 });
  await page.now().stream({ input: "One?", model: "a/b" });
  await page.now().regenerate();
  const { messages, error } = await page.until(ended);
  assert.equal(error?.code, "network");
  assert.deepEqual(
    messages.map(({ content }) => content),
    ["One?"],
  );
  const asked = requests.flatMap(({ body }) => body ?? []);
  assert.deepEqual(asked, Array(2).fill({ ...kept, input: "One?", model: "a/b" }));
});

test("a question to a new session that is refused is taken back", async (t) => {
  const page = await mountHook(t, { baseUrl, sessionId: `new-${performance.timeOrigin}` });
  const answer = page.now().stream({ input: "Hello", max_steps: 0 });
  await page.until(({ messages }) => messages.length === 1);
  assert.equal(await answer, null);
  await page.until(({ messages }) => messages.length === 0);
});

test("a conversation of several pages is read to its end, and its last question is asked again as it was", async (t) => {
  const message = (run_id: string, role: string, content: string, parent_id?: string) => {
    const status = run_id === "run_0" ? "succeeded" : "failed";
    return { message_id: content, parent_id, run_id, role, content, status };
  };
  const pages: Record<string, object> = {
    "": { messages: [message("run_0", "user", "One?")], next_cursor: "One?" },
    "One?": { messages: [message("run_0", "assistant", "1", "One?"), message("run_1", "user", "Two?", "1")] },
  };
  const { url, requests } = await serve(t, (response, request) => {
    const query = new URL(request.url!, "http://localhost").searchParams;
    const json = (body?: object) => response.setHeader("Content-Type", "application/json").end(JSON.stringify(body));
    if (request.method === "POST") stream(started, completed(2))(response, request);
    else if (request.url?.startsWith("/api/agent/runs?")) json({ runs: [{ run_id: "run_1" }] });
    else json(pages[query.get("cursor") ?? ""]);
  });
  const page = await mountHook(t, { baseUrl: url, sessionId: "chat-1" });
  const { messages } = await page.until((agent) => agent.messages.length > 0);
  assert.deepEqual(
    messages.map(({ content, status }) => [content, status]),
    [
      ["One?", "succeeded"],
      ["1", "succeeded"],
      ["Two?", "failed"],
      [null, "failed"], // its answer
    ],
  );
  const answer = page.now().regenerate();
  await page.until((agent) => agent.messages.length === 3 && agent.messages[2]?.run_id === "");
  await answer;
  await page.now().stream({ input: "Two?", model: "a/b" });
  await page.now().regenerate();
  const again = { ...kept, input: "Two?", parent_run_id: "run_1", parent_state: "before" };
  const asked = requests.flatMap(({ body }) => body ?? []);
  assert.deepEqual(asked, [again, { ...kept, input: "Two?", model: "a/b" }, { ...again, model: "a/b" }]);
});

test("a body that ends without `complete` is no success when its run is gone", async (t) => {
  hurry(t);
  const { url, requests } = await serve(t, stream(started, text(2, "Hel")), refuse(404, "run_not_found"));
  const page = await mountHook(t, { baseUrl: url });
  assert.equal(await page.now().stream("Hello"), null);
  const { status, error, output } = await page.until(ended);
  assert.deepEqual([status, error?.code, output], ["failed", "run_not_found", "Hel"]);
  assert.deepEqual(
    requests.map(({ line, after }) => [line, after]),
    [
      ["POST /api/agent/stream", undefined],
      ["GET /api/agent/runs/run_1/events", "2"],
    ],
  );
});

test("a body that ends without `complete` is no success when nothing is left", async (t) => {
  hurry(t);
  const { url } = await serve(t, stream(started), (response) => response.writeHead(204).end());
  const page = await mountHook(t, { baseUrl: url });
  assert.equal(await page.now().stream("Hello"), null);
  const { status, error } = await page.until(ended);
  assert.deepEqual([status, error?.code], ["failed", "incomplete"]);
});

test("it stops after a number of connections that bring nothing new", async (t) => {
  hurry(t);
  const { url, requests } = await serve(t, stream(started));
  const page = await mountHook(t, { baseUrl: url, maxRetries: 2 });
  assert.equal(await page.now().stream("Hello"), null);
  const { status, error } = await page.until(ended);
  assert.deepEqual([status, error?.code, requests.length], ["failed", "incomplete", 3]);
});

test("it doesn't give up while each connection brings something new", async (t) => {
  hurry(t);
  const { url } = await serve(t, stream(started), stream(text(2, "Hel")), stream(text(3, "lo")), stream(completed(4)));
  const page = await mountHook(t, { baseUrl: url, maxRetries: 1 });
  assert.equal((await page.now().stream("Hello"))?.status, "succeeded");
  assert.equal((await page.until(ended)).output, "Hello");
});

test("events that come again are not given again, and the server's hints are kept to", async (t) => {
  const { url, requests } = await serve(
    t,
    stream(started, text(2, "Hel"), "event: draining\nretry: 300\n\n"),
    refuse(503, "server_draining", { "Retry-After": "1" }),
    stream(started, text(2, "Hel"), text(3, "lo"), text(3, "lo"), text(2, "Hel"), completed(4)),
  );
  const page = await mountHook(t, { baseUrl: url });
  const given: number[] = [];
  const complete = await page.now().stream("Hello", ({ seq }) => given.push(seq));
  assert.equal(complete?.status, "succeeded");
  assert.deepEqual(given, [1, 2, 3, 4]);
  assert.equal((await page.until(ended)).output, "Hello");
  const [first, second, third] = requests.map(({ at }) => at) as [number, number, number];
  assert.ok(second - first >= 300 && third - second >= 1000, `${second - first} ms, ${third - second} ms`);
});

test("a connection that has fallen silent is taken up again", async (t) => {
  const silent: Answer = (response) => {
    response.writeHead(200, { "Content-Type": "text/event-stream", "X-Run-ID": "run_1" });
    response.write(started + text(2, "Hel"));
  };
  const { url, requests } = await serve(t, silent, stream(text(3, "lo"), completed(4)));
  const page = await mountHook(t, { baseUrl: url });
  let heard = () => {};
  const first = new Promise<void>((resolve) => (heard = resolve));
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const complete = page.now().stream("Hello", ({ seq }) => seq === 2 && heard());
  await first;
  await new Promise(setImmediate); // the read that follows has its timer
  t.mock.timers.tick(9_999);
  assert.equal(page.now().status, "streaming");
  t.mock.timers.tick(1);
  await page.until(({ status }) => status === "reconnecting");
  let isOver = false;
  void complete.then(() => (isOver = true));
  while (!isOver) {
    t.mock.timers.tick(1_000); // the delay before the next connection
    await new Promise(setImmediate);
  }
  assert.equal((await complete)?.status, "succeeded");
  assert.equal((await page.until(ended)).output, "Hello");
  assert.equal(requests[1]?.after, "2");
});

test("a run is followed through any number of failures, at once when the page is online again", async (t) => {
  const gateway: Answer = (response) => response.writeHead(502, { "Content-Type": "text/html" }).end("<h1>Bad</h1>");
  const outage = Array<Answer>(9).fill(gateway);
  const { url, requests } = await serve(
    t,
    stream(started, text(2, "Hel")),
    ...outage,
    stream(text(3, "lo"), completed(4)),
  );
  const page = await mountHook(t, { baseUrl: url, storageKey: "run" });
  const began = performance.now();
  hurry(t);
  assert.equal((await page.now().stream("Hello"))?.status, "succeeded");
  assert.equal((await page.until(ended)).output, "Hello");
  assert.ok(performance.now() - began < 5000);
  assert.equal(requests.length, 11);
});

test("a run that can't be read for now is kept, and read by reconnect()", async (t) => {
  hurry(t);
  const expired = refuse(401, "unauthenticated");
  const { url, requests } = await serve(
    t,
    stream(started, text(2, "Hel")),
    expired,
    stream(text(3, "lo"), completed(4)),
  );
  const page = await mountHook(t, { baseUrl: url, storageKey: "run" });
  const given: number[] = [];
  assert.equal(await page.now().stream("Hello", ({ seq }) => given.push(seq)), null);
  const failed = await page.until(ended);
  assert.deepEqual([failed.status, failed.error?.code], ["failed", "unauthenticated"]);
  assert.equal(sessionStorage.getItem("run"), "run_1");
  assert.equal((await page.now().reconnect())?.status, "succeeded");
  assert.deepEqual(given, [1, 2, 3, 4]);
  assert.equal(requests.at(-1)?.after, "2");
  const { output, error, messages } = await page.until(({ status }) => status === "succeeded");
  assert.deepEqual([output, error, messages.at(-1)?.status], ["Hello", null, "succeeded"]);
  assert.equal(sessionStorage.getItem("run"), null);
  assert.equal(await page.now().reconnect(), null);
});

test("a run that the service no longer has is forgotten", async (t) => {
  sessionStorage.setItem("run", "run_1");
  const { url } = await serve(t, refuse(404, "run_not_found"));
  const page = await mountHook(t, { baseUrl: url, storageKey: "run" });
  assert.equal((await page.until(ended)).error?.code, "run_not_found");
  assert.equal(sessionStorage.getItem("run"), null);
  assert.equal(await page.now().reconnect(), null);
});

test("a question whose response never came is sent by reconnect() with the same key", async (t) => {
  const { url, requests } = await serve(t, drop, stream(started, completed(2)));
  const page = await mountHook(t, { baseUrl: url, maxRetries: 0 });
  assert.equal(await page.now().stream("Hello"), null);
  const { error } = await page.until(ended);
  assert.equal(error?.code, "network");
  assert.ok(error.message.includes(url) && error.message.includes("CORS_ORIGINS"), error.message);
  assert.equal((await page.now().reconnect())?.status, "succeeded");
  assert.equal(requests[0]?.key, requests[1]?.key);
});

test("attach() reads a run from its first event, and leaves the one before alone", async (t) => {
  const page = await mountHook(t, simulate);
  void page.now().stream(scenario("long", 20));
  const { runId } = await page.until(({ output }) => output !== "");
  const other = await mountHook(t, { baseUrl });
  const given: number[] = [];
  const whole = other.now().attach(runId!, ({ seq }) => given.push(seq));
  await other.until(({ output }) => output !== "");
  assert.equal(given[0], 1);
  await page.now().attach("run_1");
  assert.equal((await page.until(ended)).error?.code, "run_not_found");
  assert.equal(other.now().status, "streaming");
  await other.now().stop();
  assert.equal(await whole, null);
});

test("a run that another tab takes for its own is not ours, until attach() takes it over", async (t) => {
  const waiting = waits("client", "weather", taken);
  const { url, requests } = await serve(t, (response, request) => {
    const isRead = request.url?.endsWith("/events") && answersAmong(requests).length === 0;
    waiting(response, isRead ? ({ url: "/api/agent/stream" } as IncomingMessage) : request);
  });
  let release = () => {};
  const held = new Promise<void>((resolve) => (release = resolve));
  const other = navigator.locks.request(`agent-stream run ${url} run_1`, () => held); // the lock of the other tab
  const lost = assert.rejects(other, { name: "AbortError" });
  const made: object[] = [];
  const weather = { run: (args: object) => made.push(args) };
  const page = await mountHook(t, { baseUrl: url, clientTools: { weather } });
  void page.now().stream("Hello");
  await page.until((agent) => agent.status === "waiting" && !agent.isOurs);
  assert.deepEqual([made, answersAmong(requests)], [[], []]);
  const answer = page.now().attach("run_1");
  await lost;
  assert.equal((await answer)?.status, "succeeded");
  assert.deepEqual(made, [{ city: "Oslo" }]);
  release();
});

test("a refusal in the form of a stream is the error, too", async (t) => {
  const error = { code: "invalid_request", message: "No.", retryable: false, request_id: "req_1" };
  const { url } = await serve(t, (response) => {
    response.writeHead(422, { "Content-Type": "text/event-stream; charset=utf-8" });
    response.end(`event: error\ndata: ${JSON.stringify({ event: "error", data: error })}\n\n`);
  });
  const page = await mountHook(t, { baseUrl: url });
  assert.equal(await page.now().stream("Hello"), null);
  assert.deepEqual((await page.until(ended)).error, error);
});

test("an answer asks for no stream while other tabs hold both", async (t) => {
  const answered = waits("approval", "delete", (response, request) => {
    assert.equal(request.headers.accept, "application/json");
    taken(response, request);
  });
  const [, end] = completed(4).split("data: ");
  const { url, requests } = await serve(t, (response, request) => {
    if (request.url === "/api/agent/runs/run_1/events?wait=false&after=3") response.end(`${end!.trim()}\n`);
    else answered(response, request);
  });
  const page = await mountHook(t, { baseUrl: url });
  const answer = page.now().stream("Hello");
  await page.until(waiting);
  let release = () => {};
  const held = new Promise<void>((resolve) => (release = resolve));
  t.after(release);
  for (const number of [0, 1]) {
    await new Promise<void>((resolve) => {
      void navigator.locks.request(`agent-stream ${url} ${number}`, () => (resolve(), held)); // another tab's stream
    });
  }
  assert.equal(await page.now().approve("call/1"), null);
  assert.equal((await answer)?.status, "succeeded");
  assert.ok(!requests.some(({ line }) => line.endsWith("/events")));
});

test("a run that waits holds no connection, and an answer's response is read on", async (t) => {
  let closed = Promise.resolve();
  const respond = waits("approval", "delete", (response, request) => {
    assert.match(request.headers.accept!, /text\/event-stream/);
    assert.equal(request.headers["last-event-id"], "3");
    response.writeHead(200, { "Content-Type": "text/event-stream" }).write(": ping\n\n");
    const rest = frame(4, "approval_response", { tool_call_id: "call/1", approved: true }) + completed(5);
    setTimeout(() => response.end(rest), 50); // in another read
  });
  const { url, requests } = await serve(t, (response, request) => {
    if (request.url === "/api/agent/stream") closed = new Promise((resolve) => response.on("close", resolve));
    respond(response, request);
  });
  const page = await mountHook(t, { baseUrl: url });
  const answer = page.now().stream("Hello");
  await page.until(waiting);
  await closed;
  assert.equal(await page.now().approve("call/1"), null);
  assert.equal((await answer)?.status, "succeeded");
  assert.equal((await page.until(ended)).toolCalls[0]?.approval_response?.approved, true);
  assert.ok(!requests.some(({ line }) => line.endsWith("/events")));
});

test("a page that didn't ask shows the calls of the page's tools, and doesn't make them", async (t) => {
  const asked = { message_id: "m", run_id: "run_1", role: "user", content: "Where?", status: "waiting" };
  const call = { tool_call_id: "call_1", name: "locate", arguments: {} };
  const { url, requests } = await serve(t, (response, request) => {
    const json = (body: object) => response.setHeader("Content-Type", "application/json").end(JSON.stringify(body));
    if (request.url?.startsWith("/api/agent/sessions/")) json({ messages: [asked] });
    else if (request.url?.startsWith("/api/agent/runs?")) json({ runs: [{ run_id: "run_1" }] });
    else if (request.url === "/api/agent/runs/run_1") json({ last_seq: 3 });
    else {
      const pending = [{ tool_call_id: "call_1", name: "locate", kind: "client" as const }];
      const events = [started, frame(2, "tool_use", { ...call, source: "client" }), frame(3, "waiting", { pending })];
      stream(...events)(response, request);
    }
  });
  const clientTools = { locate: { run: () => assert.fail("it was called") } };
  const page = await mountHook(t, { baseUrl: url, sessionId: "chat-1", clientTools });
  const { pending } = await page.until(waiting);
  assert.deepEqual(pending, [{ tool_call_id: "call_1", name: "locate", kind: "client", arguments: {}, arguments_text: "{}" }]);
  const looks = () => requests.filter(({ line }) => line === "GET /api/agent/runs/run_1").length;
  while (looks() < 2) await new Promise((resolve) => setTimeout(resolve, 20));
});

test("a page that is away keeps its state, and reads on from there when it is back", async (t) => {
  hurry(t);
  const firsts: Answer = (response) => {
    response.writeHead(200, { "Content-Type": "text/event-stream", "X-Run-ID": "run_1" });
    response.write(started + text(2, "Hel"));
  };
  const { url, requests } = await serve(t, firsts, stream(text(3, "lo"), completed(4)));
  const given: number[] = [];
  const agents: AgentStreamState[] = [];
  function Probe() {
    const agent = useAgentStream({ baseUrl: url });
    useEffect(() => void agents.push(agent));
    return <p>{agent.output}</p>;
  }
  const root = createRoot(document.createElement("div"));
  const show = (mode: "visible" | "hidden") =>
    acting(() =>
      root.render(
        <Activity mode={mode}>
          <Probe />
        </Activity>,
      ),
    );
  await show("visible");
  t.after(() => acting(() => root.unmount()));
  const answer = agents[0]!.stream("Hello", ({ seq }) => given.push(seq));
  while (given.length < 2) await new Promise(setImmediate);
  await show("hidden");
  assert.equal(await answer, null);
  await show("visible");
  while (agents.at(-1)?.status !== "succeeded") await new Promise(setImmediate);
  assert.equal(agents.at(-1)?.output, "Hello");
  assert.deepEqual(given, [1, 2, 3, 4]);
  assert.equal(requests[1]?.after, "2");
  await show("hidden");
  await show("visible");
  assert.deepEqual([agents.at(-1)?.output, agents.at(-1)?.status, requests.length], ["Hello", "succeeded", 2]);
});

test("an answer that is no stream is an error, whatever its status", async (t) => {
  const page = (response: ServerResponse) => response.setHeader("Content-Type", "text/html").end("<h1>Log in</h1>");
  const { url } = await serve(t, page);
  const { now, until } = await mountHook(t, { baseUrl: url });
  assert.equal(await now().stream("Hello"), null);
  assert.equal((await until(ended)).error?.code, "http_200");
});

test("a service out of reach is an error", async (t) => {
  hurry(t);
  const { url, close } = await serve(t, stream(started));
  await close();
  const page = await mountHook(t, { baseUrl: url, maxRetries: 1 });
  assert.equal(await page.now().stream("Hello"), null);
  const { status, error } = await page.until(ended);
  assert.deepEqual([status, error?.code, error?.retryable], ["failed", "network", true]);
});

// Outages

/** A service that is out of reach until it is `up`. `lost` resolves with the next request that gets no response. */
async function outage(t: TestContext, answer: Answer) {
  const line = { isUp: false, lost: () => {} };
  const lose: Answer = (...about) => {
    drop(...about);
    line.lost();
  };
  const service = await serve(t, (...about) => (line.isUp ? answer : lose)(...about));
  const lost = () => new Promise<void>((resolve) => (line.lost = resolve));
  return { ...service, lost, up: () => (line.isUp = true), down: () => (line.isUp = false) };
}

/** A session whose only run is that of `asked`, once it has been asked. */
const session = (requests: { line: string; body: AgentRequest | null }[], status: string): Answer => (response, request) => {
  const asked = requests.find(({ line, body }) => line === "POST /api/agent/stream" && body !== null)?.body;
  const json = (body: object) => response.setHeader("Content-Type", "application/json").end(JSON.stringify(body));
  if (request.url?.startsWith("/api/agent/runs?")) return json({ runs: asked ? [{ run_id: "run_1" }] : [] });
  if (request.url?.startsWith("/api/agent/sessions")) {
    return json({ messages: [{ message_id: "m1", run_id: "run_1", role: "user", content: asked?.input, status }] });
  }
  return stream(started, text(2, "Hello"), completed(3))(response, request);
};

test("a question that was asked during an outage is asked once the service is back, also by a reloaded page", async (t) => {
  const { url, requests, up } = await outage(t, (...about) => session(requests, "succeeded")(...about));
  const options = { baseUrl: url, sessionId: "chat-1", storageKey: "run" };
  const before = await mountHook(t, options);
  const image = { type: "image", url: `data:image/png;base64,${"A".repeat(6e6)}` } as const; // sessionStorage has no room
  const input = [{ type: "text", text: "One?" } as const, image];
  const lost = before.now().stream({ input, model: "a/b" });
  await before.until(({ status, error }) => status === "connecting" && error !== null);
  await before.leave();
  assert.equal(await lost, null);
  const after = await mountHook(t, options);
  const { messages } = await after.until(({ status, error }) => status === "connecting" && error !== null);
  assert.deepEqual(
    messages.map(({ run_id, content }) => [run_id, content]),
    [["", input]],
  );
  up();
  hurry(t);
  assert.equal((await after.until(ended)).output, "Hello");
  const asked = requests.filter(({ line }) => line === "POST /api/agent/stream");
  assert.ok(asked.length >= 3);
  assert.equal(new Set(asked.map(({ key }) => key)).size, 1);
  for (const { body } of asked) assert.deepEqual(body, { ...kept, input, model: "a/b" });
  assert.equal(sessionStorage.length, 0);
  await after.leave();
  await after.comeBack();
  assert.equal(requests.filter(({ line }) => line === "POST /api/agent/stream").length, asked.length);
});

test("the example's component puts a question back that is stopped before it has arrived", async (t) => {
  const { url, up, down } = await cancellable(t);
  down();
  const page = await mount(t, <AgentChat baseUrl={url} />);
  const input = await askIn(page, "Is it cold?", "connecting");
  assert.equal(input.value, "");
  const isBack = new Promise<void>((resolve) => {
    const look = () => input.value === "Is it cold?" && resolve();
    new window.MutationObserver(look).observe(input, { attributes: true });
  });
  const stop = Array.from(page.querySelectorAll("button")).find(({ textContent }) => textContent === "Stop")!;
  await acting(() => stop.click());
  await isBack;
  assert.equal(page.querySelector("[role=status]")!.textContent, "stopping");
  const cancelled = untilStatus(page, "cancelled");
  up();
  hurry(t);
  await cancelled;
});

const replies: ["approval" | "client", string, Decide, object][] = [
  ["approval", "an approval", (agent, id) => agent.approve(id), { approved: true }],
  ["approval", "a refusal", (agent, id) => agent.refuse(id, "No."), { approved: false, reason: "No." }],
  [
    "client",
    "a tool's result",
    (agent, id) => agent.sendToolResult(id, "Snow"),
    { results: [{ tool_call_id: "call/1", content: "Snow", is_error: false }] },
  ],
];

for (const [kind, what, reply, body] of replies) {
  test(`${what} of an outage is reported as not arrived, and is sent until the service has it`, async (t) => {
    const { url, requests, lost, up, down } = await outage(t, waits(kind, "weather", taken));
    up();
    const page = await mountHook(t, { baseUrl: url });
    const answer = page.now().stream("Hello");
    await page.until(waiting);
    down();
    const tried = lost();
    const sent = reply(page.now(), "call/1");
    await tried;
    const { status, pending } = await page.until(({ error }) => error?.code === "network");
    assert.deepEqual([status, pending.length], ["waiting", 1]);
    const hurried = setInterval(() => void page.now().reconnect(), 10);
    t.after(() => clearInterval(hurried));
    while (answersAmong(requests).length < 8) await lost();
    up();
    assert.equal(await sent, null);
    assert.equal((await answer)?.status, "succeeded");
    assert.equal((await page.until(ended)).error, null);
    const bodies = answersAmong(requests).map((request) => request.body as unknown);
    for (const one of bodies) assert.deepEqual(one, body);
  });
}

for (const [kind, what, reply, body] of replies) {
  test(`${what} that has not arrived when its page is reloaded is sent by the new page`, async (t) => {
    const waiting = waits(kind, "weather", taken);
    let isAnswered = false;
    const { url, requests, lost, up, down } = await outage(t, (response, request) => {
      isAnswered ||= request.method === "POST" && request.url!.startsWith("/api/agent/runs/");
      const isRead = request.url?.endsWith("/events") && !isAnswered;
      waiting(response, isRead ? ({ url: "/api/agent/stream" } as IncomingMessage) : request);
    });
    up();
    const options = { baseUrl: url, storageKey: "run" };
    const before = await mountHook(t, options);
    void before.now().stream("Hello");
    await before.until(({ status }) => status === "waiting");
    down();
    const tried = lost();
    void reply(before.now(), "call/1");
    await tried;
    await before.leave();
    up();
    const after = await mountHook(t, options);
    hurry(t);
    assert.equal((await after.until(ended)).status, "succeeded");
    const sent = answersAmong(requests).map((request) => request.body as unknown);
    assert.ok(sent.length >= 2);
    for (const one of sent) assert.deepEqual(one, body);
    assert.equal(sessionStorage.length, 0);
  });
}

test("stop() while retry() reads the rest of a run doesn't ask the question again", async (t) => {
  hurry(t);
  const open: Answer = (response) => void response.writeHead(200, { "Content-Type": "text/event-stream" }).write(text(3, "lo"));
  const torn = stream(started, text(2, "Hel"));
  const { url, requests } = await serve(t, torn, refuse(401, "unauthenticated"), open, taken);
  const page = await mountHook(t, { baseUrl: url });
  assert.equal(await page.now().stream("Hello"), null);
  assert.equal((await page.until(ended)).status, "failed");
  const again = page.now().retry();
  await page.until(({ output }) => output === "Hello");
  await page.now().stop();
  assert.equal(await again, null);
  assert.equal(requests.filter(({ line }) => line === "POST /api/agent/stream").length, 1);
});

test("a page that is reloaded after stop() of a lost question cancels its run, and doesn't read it", async (t) => {
  const service = await cancellable(t);
  const { url, requests, up, down, cancels } = service;
  const options = { baseUrl: url, storageKey: "run" };
  down();
  const before = await mountHook(t, options);
  void before.now().stream("One?");
  await before.until(({ status, error }) => status === "connecting" && error !== null);
  const stopped = before.now().stop();
  await before.until(({ status }) => status === "stopping");
  await before.leave();
  const after = await mountHook(t, options);
  const { messages } = await after.until(({ status, messages }) => status === "stopping" && messages.length > 0);
  assert.deepEqual([messages[0]?.content, messages[0]?.run_id], ["One?", ""]);
  up();
  hurry(t);
  const { status, output, error } = await after.until(ended);
  assert.deepEqual([status, output, error], ["cancelled", "", null]);
  await stopped;
  assert.equal(new Set(requests.filter(({ key }) => key).map(({ key }) => key)).size, 1);
  assert.ok(cancels() >= 1);
  assert.equal(sessionStorage.length, 0);
});

/** A service with a run that goes on until it is cancelled, and that can be out of reach. */
async function cancellable(t: TestContext) {
  let isCancelled = false;
  const running: Answer = (response) => {
    response.writeHead(200, { "Content-Type": "text/event-stream", "X-Run-ID": "run_1" });
    response.write(started + text(2, "Hel"));
    if (isCancelled) response.end(frame(3, "complete", { status: "cancelled", usage, steps: 1, duration_ms: 1 }));
  };
  const service = await outage(t, (response, request) => {
    if (!request.url?.endsWith("/cancel")) return running(response, request);
    isCancelled = true;
    response.writeHead(202, { "Content-Type": "application/json" }).end('{"status":"running"}');
  });
  service.up();
  const cancels = () => service.requests.filter(({ line }) => line === "POST /api/agent/runs/run_1/cancel").length;
  return { ...service, cancels };
}

test("stop() during an outage is `stopping` until the service has confirmed it", async (t) => {
  const { url, lost, up, down, cancels } = await cancellable(t);
  const page = await mountHook(t, { baseUrl: url });
  const complete = page.now().stream("Hello");
  await page.until(({ output }) => output === "Hel");
  down();
  const tried = lost();
  const stopped = page.now().stop();
  const { isStreaming, messages } = await page.until(({ status }) => status === "stopping");
  assert.deepEqual([isStreaming, messages.at(-1)?.status], [false, "running"]);
  assert.equal(await complete, null);
  await tried;
  assert.equal(page.now().status, "stopping");
  up();
  hurry(t);
  await stopped;
  const { status, messages: after } = await page.until(ended);
  assert.deepEqual([status, after.at(-1)?.status], ["cancelled", "cancelled"]);
  assert.equal(cancels(), 2);
});

test("stop() says after some tries that the run is not stopped, and may be called again", async (t) => {
  const { url, up, down, cancels } = await cancellable(t);
  const page = await mountHook(t, { baseUrl: url });
  void page.now().stream("Hello");
  await page.until(({ output }) => output === "Hel");
  down();
  hurry(t);
  const stopped = page.now().stop();
  const { error, messages } = await page.until(({ status }) => status === "failed");
  assert.deepEqual([error?.code, messages.at(-1)?.error, messages.at(-1)?.status], ["not_stopped", error, "failed"]);
  assert.match(error!.message, /can't be reached.*Stop it again/);
  const tried = cancels();
  up();
  await page.now().stop();
  await stopped;
  const after = await page.until(({ status }) => status === "cancelled");
  assert.deepEqual([after.error, after.messages.at(-1)?.status], [null, "cancelled"]);
  assert.ok(!("error" in after.messages.at(-1)!));
  assert.equal(cancels(), tried + 1);
});

test("stop() that the service refuses says so, and may be called again, also by retry()", async (t) => {
  const going: Answer = (response) => {
    response.writeHead(200, { "Content-Type": "text/event-stream", "X-Run-ID": "run_1" }).write(started + text(2, "Hel"));
  };
  const { url, requests } = await serve(t, going, refuse(401, "unauthorized"), refuse(401, "unauthorized"), cancelledAs("running"));
  const page = await mountHook(t, { baseUrl: url, storageKey: "run" });
  void page.now().stream("Hello");
  await page.until(({ output }) => output === "Hel");
  await page.now().stop();
  const { error } = await page.until(({ status }) => status === "failed");
  assert.deepEqual([error?.code, error?.message], ["not_stopped", "The run was not stopped: No. Stop it again."]);
  assert.ok(sessionStorage.length > 0); // a reloaded page tries again, too
  await page.now().stop();
  assert.equal(page.now().status, "failed");
  await page.now().retry();
  await page.until(({ status }) => status === "cancelled");
  assert.deepEqual(new Set(requests.slice(1).map(({ line }) => line)), new Set(["POST /api/agent/runs/run_1/cancel"]));
  assert.equal(sessionStorage.length, 0);
});

test("a page that is reloaded after stop() during an outage cancels the run before it reads on", async (t) => {
  const { url, requests, up, down, cancels } = await cancellable(t);
  const options = { baseUrl: url, storageKey: "run" };
  const before = await mountHook(t, options);
  void before.now().stream("Hello");
  await before.until(({ output }) => output === "Hel");
  down();
  const stopped = before.now().stop();
  await before.until(({ status }) => status === "stopping");
  await before.leave();
  const after = await mountHook(t, options);
  await after.until(({ status, messages }) => status === "stopping" && messages[0]?.content === "Hello");
  up();
  hurry(t);
  const { output, status } = await after.until(ended);
  assert.deepEqual([output, status], ["Hel", "cancelled"]);
  await stopped;
  const lines = requests.map(({ line }) => line.split(" /api/agent/runs/run_1")[1]);
  assert.ok(lines.indexOf("/cancel") < lines.indexOf("/events"));
  assert.ok(cancels() >= 2);
  assert.equal(sessionStorage.length, 0);
});

test("a session that can't be loaded reports it, and is loaded when the service is back", async (t) => {
  const { url, requests, up } = await outage(t, (response, request) => {
    if (request.url?.startsWith("/api/agent/runs?")) response.end('{"runs":[]}');
    else drop(response, request);
  });
  const page = await mountHook(t, { baseUrl: url, sessionId: "chat-1" });
  assert.deepEqual(page.now().history, { isLoaded: false, error: null });
  const { history } = await page.until((agent) => agent.history.error !== null);
  assert.deepEqual([history.isLoaded, history.error?.code], [false, "network"]);
  up();
  await page.now().reconnect();
  await page.until((agent) => agent.history.isLoaded && agent.history.error === null);
  assert.ok(requests.length > 1);
});

test("stop() before the service has answered cancels the run once it has an id", async (t) => {
  let asked = (_answer: () => void) => {};
  const answer = new Promise<() => void>((resolve) => (asked = resolve));
  const { url, requests } = await serve(
    t,
    (response, request) => asked(() => stream(started, completed(2))(response, request)),
    refuse(202, ""),
  );
  const page = await mountHook(t, { baseUrl: url });
  const complete = page.now().stream("Hello", () => assert.fail("an event of a stopped run"));
  const respond = await answer;
  const stopped = page.now().stop();
  await page.until(({ status }) => status === "stopping");
  respond();
  await stopped;
  assert.equal(await complete, null);
  assert.equal((await page.until(ended)).status, "cancelled");
  assert.equal(requests.at(-1)?.line, "POST /api/agent/runs/run_1/cancel");
  await page.comeBack(); // renders once more, with what is still to be shown
  assert.equal(page.now().status, "cancelled");
});

test("nothing is given after stop(), not even of the same read", async (t) => {
  const { url } = await serve(t, stream(started + text(2, "Hel") + completed(3)), refuse(202, ""));
  const page = await mountHook(t, { baseUrl: url });
  const given: number[] = [];
  let stopped = Promise.resolve();
  const complete = await page.now().stream("Hello", ({ seq }) => {
    given.push(seq);
    stopped = page.now().stop();
  });
  assert.equal(complete, null);
  assert.deepEqual(given, [1]);
  await stopped;
});

test("a component that goes closes its connection, and cancels nothing", async (t) => {
  let closed = Promise.resolve();
  const { url, requests } = await serve(t, (response) => {
    closed = new Promise((resolve) => response.on("close", resolve));
    response.writeHead(200, { "Content-Type": "text/event-stream", "X-Run-ID": "run_1" }).write(started);
  });
  const page = await mountHook(t, { baseUrl: url });
  const complete = page.now().stream("Hello");
  await page.until(({ status }) => status === "streaming");
  await page.leave();
  assert.equal(await complete, null);
  await closed;
  assert.equal(requests.length, 1);
});

test("the output is the text of the last turn, and a run that fails keeps it", async (t) => {
  const step = (seq: number, number: number) => frame(seq, "step_started", { step: number, model: "a/b" });
  const failed = frame(7, "complete", { status: "failed", usage, steps: 2, duration_ms: 1 });
  const error = frame(6, "error", { code: "upstream_failed", message: "No.", retryable: true, request_id: "req_1" });
  const { url } = await serve(
    t,
    stream(started, step(2, 1), text(3, "Let me see."), step(4, 2), text(5, "It"), error, failed),
  );
  const page = await mountHook(t, { baseUrl: url });
  assert.equal((await page.now().stream("Hello"))?.status, "failed");
  const { status, output, error: shown } = await page.until(ended);
  assert.deepEqual([status, output, shown?.code], ["failed", "It", "upstream_failed"]);
});

test("a restarted turn keeps the parts of earlier turns only", async (t) => {
  const step = (seq: number, number: number) => frame(seq, "step_started", { step: number, model: "a/b" });
  const thinking = (seq: number, content: string) => frame(seq, "thinking", { content });
  const call = { tool_call_id: "call_1", name: "look", source: "python" } as const;
  const half = frame(7, "tool_use_delta", { ...call, arguments_delta: "{" });
  const again = frame(8, "step_restarted", { step: 2, reason: "fallback", model: "c/d" });
  const before = [started, step(2, 1), thinking(3, "First. "), step(4, 2), thinking(5, "No. "), text(6, "No"), half];
  const { url } = await serve(t, stream([...before, again, thinking(9, "Second."), text(10, "Yes"), completed(11)].join("")));
  const page = await mountHook(t, { baseUrl: url });
  await page.now().stream("Hello");
  const { output, thinking: thought, toolCalls, messages } = await page.until(ended);
  assert.deepEqual([output, thought, toolCalls], ["Yes", "First. Second.", []]);
  assert.deepEqual(messages.at(-1)!.parts.map((part) => part.type), ["thinking", "thinking", "text"]);
});

test("the sources of a dropped attempt do not count", async (t) => {
  const source = (seq: number, url: string) => frame(seq, "source", { url });
  const step = (seq: number, number: number) => frame(seq, "step_started", { step: number, model: "a/b" });
  const again = frame(6, "step_restarted", { step: 2, reason: "fallback", model: "c/d" });
  const before = [started, step(2, 1), source(3, "https://a.example"), step(4, 2), source(5, "https://b.example")];
  const { url } = await serve(t, stream([...before, again, source(7, "https://c.example"), completed(8)].join("")));
  const page = await mountHook(t, { baseUrl: url });
  await page.now().stream("Hello");
  const { sources, messages } = await page.until(ended);
  assert.deepEqual(sources, [{ url: "https://a.example" }, { url: "https://c.example" }]);
  assert.deepEqual(messages.at(-1)!.sources, sources);
});

test("what onEvent throws comes out of stream(), and the run has failed", async (t) => {
  const { url } = await serve(t, stream(started, completed(2)));
  const page = await mountHook(t, { baseUrl: url });
  const mistake = new Error("mine");
  const thrown = page.now().stream("Hello", () => {
    throw mistake;
  });
  await assert.rejects(thrown, mistake);
  const { status, error } = await page.until(ended);
  assert.deepEqual([status, error?.code], ["failed", "callback"]);
});

test("a thousand events of one write are a few renders", async (t) => {
  const events = Array.from({ length: 1000 }, (_, i) => text(i + 2, "x"));
  const { url } = await serve(t, stream([started, ...events, completed(1002)].join("")));
  const page = await mountHook(t, { baseUrl: url });
  await page.now().stream("Hello");
  assert.equal((await page.until(ended)).output.length, 1000);
  assert.ok(page.renders.length < 40, `${page.renders.length} renders`);
});

test("a page holds two streams at once, and polls its third run until one is free", async (t) => {
  const line = (event: string) => /^data: (.*)$/m.exec(event)![1] + "\n";
  const open: ServerResponse[] = [];
  const { url, requests } = await serve(t, (response, request) => {
    const address = new URL(request.url!, "http://localhost");
    if (request.method === "POST" && address.search === "") {
      response.writeHead(200, { "Content-Type": "text/event-stream", "X-Run-ID": "run_1" }).write(started);
      open.push(response);
    } else if (request.method === "POST") {
      response.writeHead(202, { "Content-Type": "application/json", "X-Run-ID": "run_1" }).end("{}");
    } else if (address.searchParams.get("wait") === "false") {
      response.end(address.searchParams.get("after") === "0" ? line(started) + line(text(2, "Hel")) : "");
    } else stream(text(3, "lo"), completed(4))(response, request);
  });
  const pages = [];
  for (let count = 0; count < 3; count += 1) pages.push(await mountHook(t, { baseUrl: url }));
  const [first, second, third] = await Promise.all(
    pages.map(async (page) => {
      const complete = page.now().stream("Hello");
      await page.until(({ status }) => status === "streaming");
      return { page, complete };
    }),
  );
  const { output, error } = await third!.page.until((agent) => agent.output === "Hel");
  assert.deepEqual([output, error], ["Hel", null]);
  assert.equal(open.length, 2);
  open[0]!.end(text(2, "one") + completed(3));
  assert.equal((await first!.complete)?.status, "succeeded");
  window.dispatchEvent(new window.Event("online")); // it looks at once
  assert.equal((await third!.complete)?.status, "succeeded");
  assert.equal((await third!.page.until(ended)).output, "Hello");
  const streams = requests.filter(({ line }) => line === "GET /api/agent/runs/run_1/events");
  assert.deepEqual(streams.map(({ after }) => after), ["2"]);
  open[1]!.end(completed(2));
  assert.equal((await second!.complete)?.status, "succeeded");
});

test("a hidden page closes its stream for a visible one, and polls meanwhile", async (t) => {
  let closed = Promise.resolve();
  const { url, requests } = await serve(t, (response, request) => {
    if (request.method !== "POST") response.end();
    else {
      closed = new Promise((resolve) => response.on("close", resolve));
      response.writeHead(200, { "Content-Type": "text/event-stream", "X-Run-ID": "run_1" }).write(started);
    }
  });
  const page = await mountHook(t, { baseUrl: url });
  void page.now().stream("Hello");
  await page.until(({ status }) => status === "streaming");
  const other = new BroadcastChannel("agent-stream");
  t.after(() => other.close());
  const isHidden = t.mock.getter(document, "visibilityState", () => "hidden");
  other.postMessage("http://another.service");
  other.postMessage(url);
  await closed;
  while (requests.length < 2) await new Promise(setImmediate);
  assert.equal(requests[1]?.line, "GET /api/agent/runs/run_1/events?wait=false&after=1");
  isHidden.mock.restore();
});
