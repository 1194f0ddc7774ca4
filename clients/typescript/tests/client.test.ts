// The client without a page, in Node, against the live service at AGENT_STREAM_URL.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createElement } from "react";
import { renderToStaticMarkup } from "react-dom/server";
import { useAgentStream } from "agent-stream/react";
import {
  AgentStream,
  Conversation,
  fold,
  type Frame,
  IDLE,
  latestAnswer,
  type Message,
  partialJson,
  RunFailed,
  type Scenario,
  textOf,
} from "agent-stream";

const baseUrl = process.env["AGENT_STREAM_URL"] ?? "";
const agent = new AgentStream({ baseUrl });
const script = (scenario: Scenario, delay_ms = 0) => ({ input: "Is it cold?", scenario, delay_ms });
const sessionId = (name: string) => `${name}-${performance.timeOrigin}`;

async function failureOf(promise: Promise<unknown>): Promise<RunFailed> {
  const failure = await promise.then(() => null, (cause: unknown) => cause);
  assert.ok(failure instanceof RunFailed, String(failure));
  return failure;
}

test("a run gives each event once and in order, to each iteration, and resolves with its end", async () => {
  const frames: Frame[] = [];
  const run = agent.simulate(script("truncated"), { onFrame: (frame) => frames.push(frame) });
  for (let round = 0; round < 2; round += 1) {
    const numbers: number[] = [];
    for await (const { seq } of run) numbers.push(seq);
    assert.deepEqual(numbers, Array.from({ length: numbers.length }, (_, place) => place + 1));
    assert.equal(numbers.length, frames.length);
  }
  assert.equal((await run.complete).status, "succeeded");
  assert.equal(run.id, await run.started);
});

test("a frame's size is the one on the wire", async () => {
  const frames: Frame[] = [];
  const run = agent.simulate(script("tool_error"), { onFrame: (frame) => frames.push(frame) });
  await run.complete;
  const stored = await fetch(`${baseUrl}/api/agent/runs/${run.id}/events?after=0`);
  const body = (await stored.text()).replaceAll(": ping\n\n", "");
  assert.equal(frames.reduce((sum, { bytes }) => sum + bytes, 0), body.length);
});

test("a run that fails throws its error at the end, and keeps its text", async () => {
  const run = agent.simulate(script("error"));
  const pieces: string[] = [];
  const reading = (async () => {
    for await (const piece of run.text()) pieces.push(piece);
  })();
  const { code, retryable, message } = await failureOf(reading);
  assert.deepEqual([code, retryable], ["upstream_failed", true]);
  assert.ok(message);
  assert.notEqual(pieces.join(""), "");
  assert.equal((await failureOf(run.complete)).code, "upstream_failed");
});

test("a refusal is the error of the run, with the service's code", async () => {
  const run = agent.stream({ input: "Hello", max_steps: 0 });
  assert.equal((await failureOf(run.complete)).code, "invalid_request");
  assert.equal((await failureOf(run.started)).code, "invalid_request");
});

test("a call is approved with other arguments, and the run resumes", async () => {
  const run = agent.simulate(script("approval"));
  const pieces: string[] = [];
  for await (const event of run) {
    if (event.event === "approval_request") {
      await run.approve(event.data.tool_call_id, { arguments: { folder: "spam" } });
    }
    if (event.event === "partial_output") pieces.push(event.data.content);
  }
  assert.match(pieces.join(""), /I deleted the folder spam/);
});

test("text of an attempt that was dropped is removed by onRestart, or ends the iteration", async () => {
  const run = agent.simulate(script("fallback"));
  let shown = "";
  for await (const piece of run.text({ onRestart: () => (shown = "") })) shown += piece;
  assert.match(shown, /^You asked: .* Another model answers\.$/);
  const drain = async () => {
    for await (const piece of agent.attach(await run.started).text()) assert.ok(piece);
  };
  assert.equal((await failureOf(drain())).code, "restarted");
});

test("a decision about no call rejects with the service's error", async () => {
  const run = agent.simulate(script("approval"));
  for await (const { event } of run) if (event === "waiting") break;
  assert.equal((await failureOf(run.approve("call_0"))).code, "tool_call_not_found");
  assert.equal((await failureOf(agent.approve(await run.started, "call_0"))).code, "tool_call_not_found");
  await run.cancel();
  assert.equal((await run.complete).status, "cancelled");
});

test("tools of the program are offered to the model and called once", async () => {
  const calls: object[] = [];
  const locate = (args: object) => {
    calls.push(args);
    return { lat: 60.4, lon: 5.3 };
  };
  const clientTools = { get_location: { description: "Returns the position.", run: locate } };
  const run = agent.simulate({ scenario: "client_tool", delay_ms: 0 });
  const attached = agent.attach(await run.started, { clientTools });
  assert.equal((await attached.complete).status, "succeeded");
  assert.equal(calls.length, 1);
});

test("a signal ends the reading with its reason", async () => {
  const left = new AbortController();
  const run = agent.simulate(script("long", 20), { signal: left.signal });
  for await (const { event } of run) if (event === "partial_output") break;
  left.abort();
  await assert.rejects(run.complete, { name: "AbortError" });
  await agent.cancel(await run.started);
});

test("a run is read from any event on, and its events so far are a list", async () => {
  const run = agent.simulate(script("default"));
  await run.complete;
  const rest = [];
  for await (const { seq } of agent.attach(await run.started, { after: 3 })) rest.push(seq);
  const list = await agent.runs.events(await run.started, { after: 3 });
  assert.equal(rest[0], 4);
  assert.deepEqual(list.map(({ seq }) => seq), rest);
});

test("a run that is read from its last event on has its end", async () => {
  const succeeded = agent.simulate(script("default"));
  const { status, usage } = await succeeded.complete;
  const { last_seq } = await agent.runs.get(await succeeded.started);
  const past = agent.attach(await succeeded.started, { after: last_seq });
  assert.deepEqual([(await past.complete).status, (await past.complete).usage], [status, usage]);
  for await (const { seq } of past) assert.fail(`event ${seq} was read before`);
});

test("a run that failed before its events are read throws its error", async () => {
  const run = agent.simulate(script("error"));
  await failureOf(run.complete);
  const { last_seq } = await agent.runs.get(await run.started);
  for (const after of [last_seq - 1, last_seq]) {
    assert.equal((await failureOf(agent.attach(await run.started, { after }).complete)).code, "upstream_failed");
  }
});

test("a refusal ends a run that waits", async () => {
  const error = { code: "unauthorized", message: "The key is unknown.", retryable: false, request_id: "req_1" };
  let isRefused = false;
  const refused = new AgentStream({
    baseUrl,
    fetch: async (input, init) => (isRefused ? Response.json({ error }, { status: 401 }) : fetch(input, init)),
  });
  const run = refused.simulate(script("approval"));
  for await (const { event } of run) {
    if (event !== "waiting") continue;
    isRefused = true;
    break;
  }
  assert.equal((await failureOf(run.complete)).code, "unauthorized");
  await agent.cancel(await run.started);
});

test("execute, the catalog, sessions and runs answer in JSON", async () => {
  const id = sessionId("json");
  const answer = await agent.execute({ input: "Hello", session_id: id });
  assert.equal(answer.status, "succeeded");
  assert.equal((await agent.sessions.update(id, { title: "Greeting" })).title, "Greeting");
  assert.equal((await agent.sessions.messages(id)).messages.length, 2);
  assert.deepEqual((await agent.sessions.runs(id)).runs.map(({ run_id }) => run_id), [answer.run_id]);
  assert.equal((await agent.runs.get(answer.run_id)).status, "succeeded");
  const background = await agent.runs.start({ input: "Hello", session_id: id });
  assert.equal((await agent.attach(background.run_id).complete).status, "succeeded");
  assert.equal((await agent.sessions.list({ limit: 1 })).sessions[0]?.session_id, id);
  assert.equal((await agent.sessions.list({ q: "GREET", limit: 1 })).sessions[0]?.session_id, id);
  await agent.sessions.delete(id);
  assert.equal((await failureOf(agent.sessions.get(id))).code, "session_not_found");
  assert.ok((await agent.models()).models.length > 0);
  assert.ok(Array.isArray((await agent.tools()).tools));
  assert.ok(Array.isArray((await agent.mcpServers()).servers));
});

test("headers may come from an asynchronous function, for each request anew", async () => {
  const given: (string | null)[] = [];
  let count = 0;
  const counting = new AgentStream({
    baseUrl,
    headers: async () => {
      if (count === 2) throw new Error("The session is over.");
      return { Authorization: `Bearer ${(count += 1)}` };
    },
    maxRetries: 0,
    fetch: (input, init) => {
      given.push(new Headers(init?.headers).get("Authorization"));
      return fetch(input, init);
    },
  });
  await counting.models();
  await counting.simulate(script("default")).complete;
  assert.deepEqual(given, ["Bearer 1", "Bearer 2"]);
  const { code, message } = await failureOf(counting.simulate(script("default")).complete);
  assert.deepEqual([code, message], ["callback", "`headers` has failed: Error: The session is over."]);
});

test("a page that is rendered on a server is idle", () => {
  function Page() {
    const { status, messages, isStreaming } = useAgentStream({ baseUrl, sessionId: "chat-1", storageKey: "run" });
    return createElement("p", null, JSON.stringify([status, messages, isStreaming]));
  }
  assert.equal(renderToStaticMarkup(createElement(Page)), "<p>[&quot;idle&quot;,[],false]</p>");
});

test("the branches of a conversation are shown, and the next question continues the one that is shown", async () => {
  const id = sessionId("branches");
  const conversation = new Conversation({ baseUrl, sessionId: id });
  const leave = conversation.mount();
  const until = (wanted: (messages: Message[]) => boolean) =>
    new Promise<Message[]>((resolve) => {
      const look = () => wanted(conversation.get().messages) && (resolve(conversation.get().messages), stop());
      const stop = conversation.subscribe(look);
      look();
    });
  const ask = (input: string) => conversation.stream({ input, model: "simulated/context" });
  const questions = (messages: Message[]) => messages.flatMap(({ role, content }) => (role === "user" ? [content] : []));
  await ask("One?");
  const first = conversation.get().runId!;
  await ask("Two?");
  await conversation.stream({ input: "Three?", model: "simulated/context", parent_run_id: first, parent_state: "before" });
  const third = conversation.get().runId!;
  const edited = await until((messages) => messages[0]?.branches !== undefined && messages.length === 2);
  assert.deepEqual(questions(edited), ["Three?"]);
  assert.deepEqual(edited[0]?.branches, { runIds: [first, third], index: 1 });
  await conversation.showBranch(first);
  const { messages, status } = conversation.get();
  assert.deepEqual(questions(messages), ["One?", "Two?"]);
  assert.deepEqual([messages[0]?.branches?.index, messages[2]?.branches, status], [0, undefined, "idle"]);
  await ask("Four?");
  assert.match(String(conversation.get().messages.at(-1)?.content), /One\?[^]*Two\?[^]*Four\?/);
  const whole = await until((messages) => messages.length === 6 && messages[0]?.branches !== undefined);
  assert.deepEqual(questions(whole), ["One?", "Two?", "Four?"]);
  leave();
});

test("a script's answer is kept in the session, where a reloaded page finds it", async () => {
  const id = sessionId("script");
  const first = new Conversation({ baseUrl, sessionId: id });
  const leaveFirst = first.mount();
  await first.stream({ input: "Is it cold?", scenario: "default", delay_ms: 0 });
  const shown = textOf(first.get().messages.at(-1)?.content ?? "");
  leaveFirst();
  const reloaded = new Conversation({ baseUrl, sessionId: id });
  const leave = reloaded.mount();
  while (reloaded.get().messages.length < 2) await new Promise((resolve) => reloaded.subscribe(() => resolve(0)));
  assert.deepEqual(
    reloaded.get().messages.map(({ role, content }) => [role, textOf(content ?? "")]),
    [
      ["user", "Is it cold?"],
      ["assistant", shown],
    ],
  );
  leave();
});

test("an unchanged message stays the same object when the conversation is loaded again", async () => {
  const conversation = new Conversation({ baseUrl, sessionId: sessionId("same") });
  const leave = conversation.mount();
  const loaded = async (length: number) => {
    while (conversation.get().messages.length < length) await new Promise((resolve) => conversation.subscribe(() => resolve(0)));
  };
  await conversation.stream({ input: "One?", model: "simulated/context" });
  await conversation.showBranch(conversation.get().runId!);
  await loaded(2);
  const before = conversation.get().messages;
  await conversation.showBranch(before[0]!.run_id);
  const after = conversation.get().messages;
  assert.ok(before.every((message, place) => message === after[place]));
  leave();
});

test("a state that shows an event comes after the event's frame", async () => {
  const seqs: number[] = [];
  const conversation = new Conversation({ baseUrl, onFrame: ({ event }) => seqs.push(event.seq) });
  const leave = conversation.mount();
  const ended: number[] = [];
  conversation.subscribe(() => conversation.get().status === "succeeded" && ended.push(seqs.length));
  const complete = await conversation.stream(script("default"));
  leave();
  assert.equal(complete?.status, "succeeded");
  assert.ok(ended.length > 0);
  assert.deepEqual(new Set(ended), new Set([seqs.length]));
});

test("an answer has as much of its value as has been written, and at the end the checked one", async () => {
  interface Weather {
    city: string;
    celsius: number;
    sky: string;
  }
  const run = agent.simulate(script("structured"));
  let state = IDLE;
  const seen: unknown[] = [];
  for await (const event of run) {
    state = { ...fold(state, event.run_id, [event]), runId: event.run_id };
    const { data, partial } = latestAnswer<Weather>(state);
    if (event.event === "partial_output") seen.push(partial);
    if (event.event === "partial_output" || event.event === "step_restarted") assert.equal(data, undefined);
  }
  const weather: Weather = { city: "Oslo", celsius: 3, sky: "light snow" };
  assert.deepEqual(seen.slice(0, 3), [undefined, undefined, undefined]);
  assert.ok(seen.some((partial) => JSON.stringify(partial) === '{"city":"Oslo"}'));
  assert.deepEqual(latestAnswer<Weather>(state).data, weather);
  assert.deepEqual(latestAnswer<Weather>(state).partial, weather);
  assert.deepEqual(run.data, weather);
  assert.equal(state.messages.at(-1)?.attempts, 3);
});

test("a reloaded answer has the value, the attempts and the model of the one that was read", async () => {
  const options = { baseUrl, sessionId: sessionId("value") };
  const asked = new Conversation({ ...options, path: "/api/agent/stream/simulate" });
  const [left, leave] = [new Conversation(options), asked.mount()];
  for (const scenario of ["structured", "fallback"] as const) await asked.stream(script(scenario));
  leave();
  const close = left.mount();
  while (left.get().messages.length < 4) await new Promise((resolve) => left.subscribe(() => resolve(0)));
  close();
  const kept = ({ data, data_text, attempts, answered_by }: Message) => ({ data, data_text, attempts, answered_by });
  const [live, stored] = [asked, left].map((conversation) => conversation.get().messages.map(kept));
  assert.equal(live![1]!.data_text, '{"city":"Oslo","celsius":3,"sky":"light snow"}');
  assert.equal(live![1]!.attempts, 3);
  assert.equal(live![3]!.answered_by, "simulated/fallback");
  assert.deepEqual(stored, live);
});

test("a run whose budget is spent is raised, or ended", async () => {
  for (const total of [200, null]) {
    const run = agent.simulate(script("budget"));
    const events: string[] = [];
    const reading = (async () => {
      for await (const { event } of run) {
        events.push(event);
        if (event !== "waiting") continue;
        assert.deepEqual([run.budget?.spent_tokens, run.budget?.max_total_tokens], [64, 80]);
        assert.equal((await failureOf(run.raiseBudget({ max_total_tokens: 64 }))).error.code, "invalid_request");
        await (total === null ? run.refuseBudget() : run.raiseBudget({ max_total_tokens: total }));
      }
    })();
    if (total === null) assert.equal((await failureOf(reading)).error.code, "budget_exceeded");
    else assert.equal((await reading.then(() => run.complete)).status, "succeeded");
    assert.ok(events.includes("budget_response"));
    assert.equal(run.budget, null);
  }
});

test("each beginning of JSON has a value", () => {
  const whole = { city: 'O"s\\lo\n❄', days: [{ celsius: -3.5, snow: true }, { snow: null }, [], {}], note: "" };
  const text = JSON.stringify(whole, null, 1);
  for (let end = 1; end < text.length; end += 1) assert.ok(partialJson(text.slice(0, end)), text.slice(0, end));
  assert.deepEqual(partialJson(text), whole);
  const cases: [string, unknown][] = [
    ["", undefined],
    ["It is", undefined],
    ['{"ci', {}],
    ['{"city": "Os', { city: "Os" }],
    ['{"city": "Os\\', { city: "Os" }],
    ['{"city": "Os\\u00', { city: "Os" }],
    ['{"city": "Os\\ud83d', { city: "Os" }],
    ['{"city": "Os\\ud83d\\ude', { city: "Os" }],
    ['{"city": "Os\\ud83d\\ude00', { city: "Os\u{1f600}" }],
    ['{"city": "Os\\\\ud83d', { city: "Os\\ud83d" }],
    ['{"a": 1', {}],
    ['{"a": 1,', { a: 1 }],
    ['{"a": [1, "x"], "b": {"c": [', { a: [1, "x"], b: { c: [] } }],
    ['```json\n[{"a": "b', [{ a: "b" }]],
    ["[x, y", undefined],
  ];
  for (const [begun, value] of cases) assert.deepEqual(partialJson(begun), value, begun);
});
