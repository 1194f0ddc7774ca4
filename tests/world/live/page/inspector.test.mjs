/* The inspector's modules without a page: `node inspector.test.mjs`. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { test } from "node:test";

import { foldedRows } from "../../../../static/page/inspector/event_folds.js";
import { kindsOf, rowsInSight, rowsOf, summaryOf } from "../../../../static/page/inspector/event_rows.js";
import { Line } from "../../../../static/page/inspector/faults.js";
import { frameSplitter, seqOf } from "../../../../static/page/inspector/frame_bytes.js";
import { javascript } from "../../../../static/page/inspector/literals.js";
import { measuresOf, speedOf, tokensOverTime } from "../../../../static/page/inspector/measures.js";
import { isCut, offsetsOf, positionAt, replayStatus, timeAt } from "../../../../static/page/inspector/playback.js";
import { proofOf } from "../../../../static/page/inspector/proof.js";
import { MAX_EVENTS, RunFileError, recordsIn } from "../../../../static/page/inspector/run_file.js";
import { frameOf, framesIn, isLeft } from "../../../../static/page/inspector/stored_log.js";
import { nowOf, shownMs, spansOf } from "../../../../static/page/inspector/timing.js";

const BEGIN = Date.parse("2026-11-28T10:00:00.000Z");
const USAGE = { input_tokens: 40, output_tokens: 20, total_tokens: 60 };
const COMPLETE = { status: "succeeded", usage: USAGE, steps: 1, duration_ms: 900 };
const encoder = new TextEncoder();

/** Events of a run from [ms, name, data]. */
function run(...entries) {
  return entries.map(([ms, event, data], place) => ({
    run_id: "run_1",
    seq: place + 1,
    timestamp: new Date(BEGIN + ms).toISOString(),
    event,
    data,
  }));
}

const frames = (...entries) => run(...entries).map((event) => frameOf(event, JSON.stringify(event)));

const eventsIn = (bytes) => recordsIn(bytes).map(({ event }) => event);

const measured = (all) => measuresOf(all, spansOf(all));

const ANSWER = [
  [0, "run_started", { model: "test/model" }],
  [10, "step_started", { step: 1, model: "test/model" }],
  [100, "thinking", { content: "Hm. " }],
  [300, "partial_output", { content: "Hello" }],
  [500, "partial_output", { content: " world" }],
  [600, "step_finished", { step: 1, model: "test/model", finish_reason: "stop", usage: USAGE }],
  [600, "final_output", { content: "Hello world" }],
  [900, "complete", COMPLETE],
];

const TOOLS = [
  [0, "run_started", { model: "m" }],
  [10, "step_started", { step: 1, model: "m" }],
  [20, "tool_use", { tool_call_id: "a", name: "roll", arguments: {}, source: "python" }],
  [20, "tool_use", { tool_call_id: "b", name: "rm", arguments: {}, source: "python" }],
  [25, "approval_request", { tool_call_id: "b", name: "rm", arguments: {}, expires_at: "2026-11-29T10:00:00Z" }],
  [30, "tool_result", { tool_call_id: "a", name: "roll", content: "6", is_error: false, truncated: false }],
  [30, "waiting", { pending: [{ tool_call_id: "b", name: "rm", kind: "approval" }] }],
];

test("a stored call and one of a run file have each digit of their numbers", () => {
  const json = JSON.stringify(run([20, "tool_use", { tool_call_id: "a", name: "pay", arguments: { id: 1 }, source: "python" }])[0]);
  const exact = json.replace('"id":1', '"id":9007199254740993,"share":1.0');
  const [stored] = framesIn(exact);
  for (const { json, event } of [stored, ...recordsIn(encoder.encode(exact)), ...recordsIn(encoder.encode(`id: 1\ndata: ${exact}\n`))]) {
    assert.equal(json, exact);
    assert.equal(summaryOf(event), 'pay {"id":9007199254740993,"share":1.0}');
  }
  assert.equal(stored.bytes, `id: 1\nevent: tool_use\ndata: ${exact}\n\n`.length);
});

test("the waterfall has each step, call and wait, and open ones while they are under way", () => {
  const spans = spansOf(frames(...TOOLS));
  assert.deepEqual(
    spans.map(({ kind, name, start, end }) => [kind, name, start, end]),
    [
      ["step", "Step 1", 10, null],
      ["tool", "roll", 20, 30],
      ["tool", "rm", 20, null],
      ["wait", "Waiting", 30, null],
    ],
  );
  const answered = frames(
    ...TOOLS,
    [80, "approval_response", { tool_call_id: "b", approved: true }],
    [90, "tool_result", { tool_call_id: "b", name: "rm", content: "no", is_error: true, truncated: false }],
    [99, "complete", { ...COMPLETE, status: "cancelled" }],
  );
  assert.deepEqual(
    spansOf(answered).map(({ end, failed }) => [end, failed]),
    [[99, false], [30, false], [90, true], [80, false]],
  );
  assert.deepEqual(spansOf(frames(...TOOLS)).map(({ waits, decidedAt }) => [waits, decidedAt])[2], [true, null]);
  assert.deepEqual(
    spansOf(answered).map(({ waits, decidedAt }) => [waits, decidedAt]),
    [[false, null], [false, null], [true, 80], [false, null]],
  );
  assert.deepEqual(spansOf([]), []);
});

test("a call's time is the tool's own, as its card shows it, and a running call's is that since the decision", () => {
  const result = { tool_call_id: "b", name: "rm", content: "ok", is_error: false, truncated: false };
  const decided = [80, "approval_response", { tool_call_id: "b", approved: true }];
  const timeOfCall = (nowMs, ...more) => shownMs(spansOf(frames(...TOOLS, ...more))[2], nowMs);
  assert.equal(timeOfCall(50), 30);
  assert.equal(timeOfCall(95, decided), 15);
  assert.equal(timeOfCall(200, decided, [100, "tool_result", { ...result, duration_ms: 7 }]), 7);
  assert.equal(timeOfCall(200, decided, [100, "tool_result", result]), null);
  assert.equal(shownMs(spansOf(frames(...TOOLS))[0], 50), 40);
});

test("a span names the event with which it begins", () => {
  assert.deepEqual(spansOf(frames(...TOOLS)).map(({ seq }) => seq), [2, 3, 4, 7]);
});

test("runs of three or more deltas are folded, and open ones have their rows below them", () => {
  const deltas = (count, event, data) => Array.from({ length: count }, () => [20, event, data]);
  const delta = (id) => ({ tool_call_id: id, name: "roll", arguments_delta: "{" });
  const all = frames(
    [0, "run_started", { model: "m" }],
    ...deltas(2, "thinking", { content: "a" }),
    ...deltas(4, "partial_output", { content: "b" }),
    ...deltas(3, "tool_use_delta", delta("a")),
    ...deltas(3, "tool_use_delta", delta("b")),
    [30, "complete", COMPLETE],
  );
  const rows = rowsOf(all);
  const shown = (entries) => entries.map(({ title, event }) => title ?? event.seq);
  const closed = foldedRows(rows, () => false);
  assert.deepEqual(shown(closed), [1, 2, 3, "4 text deltas", "3 argument deltas", "3 argument deltas", 14]);
  const [text] = closed.filter(({ fold }) => fold === "partial_output");
  assert.deepEqual([text.seq, text.last, text.text], [4, 7, "bbbb"]);
  assert.equal(text.bytes, rows.slice(3, 7).reduce((sum, { bytes }) => sum + bytes, 0));
  const opened = foldedRows(rows, (first, last) => first <= 9 && 9 <= last);
  assert.deepEqual(shown(opened), [1, 2, 3, "4 text deltas", "3 argument deltas", 8, 9, 10, "3 argument deltas", 14]);
  assert.deepEqual(foldedRows([], () => false), []);
  const long = foldedRows(rowsOf(frames(...deltas(10_000, "partial_output", { content: "word " }))), () => false);
  assert.equal(long[0].title, "10,000 text deltas");
  assert.ok(long[0].text.length < 200);
});

test("a wait for a larger budget ends with its decision, and is told in a few words", () => {
  const pending = [{ kind: "budget", spent_tokens: 64, max_total_tokens: 80, expires_at: "2026-11-29T10:00:00Z" }];
  const raised = [800, "budget_response", { approved: true, max_total_tokens: 200, max_cost_usd: 0.5 }];
  const all = frames(...ANSWER.slice(0, 6), [700, "waiting", { pending }], raised);
  assert.deepEqual(spansOf(all).map(({ kind, start, end }) => [kind, start, end]), [["step", 10, 600], ["wait", 700, 800]]);
  assert.deepEqual(all.slice(-2).map(({ event }) => summaryOf(event)), ["budget", "raised · 200 tokens · $0.5"]);
  assert.equal(summaryOf(run([0, "budget_response", { approved: false }])[0]), "not raised");
});

test("the page has left a run that was stopped before its end", () => {
  const waiting = frames(...TOOLS);
  assert.equal(isLeft(waiting, "run_1", "cancelled"), true);
  assert.equal(isLeft(waiting, "run_1", "failed"), true);
  assert.equal(isLeft(waiting, "run_1", "stopping"), false);
  assert.equal(isLeft(waiting, "run_1", "waiting"), false);
  assert.equal(isLeft(waiting, "run_2", "streaming"), true);
  assert.equal(isLeft(frames(...ANSWER), "run_1", "cancelled"), false);
  assert.equal(isLeft([], null, "cancelled"), false);
});

test("a call's id can be any text", () => {
  const ids = ["pending", "step", "wait", "__proto__", "constructor"];
  const called = ids.map((id) => [20, "tool_use", { tool_call_id: id, name: id, arguments: {}, source: "python" }]);
  const pending = ids.map((id) => ({ tool_call_id: id, name: id, kind: "approval" }));
  const answered = ids.map((id) => [40, "approval_response", { tool_call_id: id, approved: true }]);
  const spans = spansOf(frames(...TOOLS.slice(0, 2), ...called, [30, "waiting", { pending }], ...answered));
  assert.deepEqual(spans.slice(1, 6).map(({ name, end }) => [name, end]), ids.map((id) => [id, null]));
  assert.deepEqual(spans.at(-1).end, 40);
});

test("a restarted step has a span for each attempt, and its calls end with the attempt", () => {
  const again = [50, "step_restarted", { step: 1, reason: "fallback", model: "other/model" }];
  const all = frames(...TOOLS.slice(0, 4), again, [70, "partial_output", { content: "Hello" }]);
  assert.deepEqual(
    spansOf(all).map(({ name, start, end, failed }) => [name, start, end, failed]),
    [
      ["Step 1", 10, 50, true],
      ["roll", 20, 50, true],
      ["rm", 20, 50, true],
      ["Step 1 (retry)", 50, null, false],
    ],
  );
  assert.equal(measured(all).steps[0].model, "other/model");
});

test("a step shows when it wrote", () => {
  const [{ start, first, last, end }] = spansOf(frames(...ANSWER));
  assert.deepEqual([start, first, last, end], [10, 100, 500, 600]);
});

test("a run's time runs on while it is under way, and stands at its end", () => {
  const all = frames(...ANSWER);
  const some = all.slice(0, 4);
  assert.equal(nowOf(some, some.at(-1).receivedAt + 50), 350);
  assert.equal(nowOf(all, all.at(-1).receivedAt + 50), 900);
  assert.equal(nowOf([], 5), 0);
  assert.equal(nowOf(some, null), 300); // a record, however old it is
});

test("the numbers are those of the model server where it reports them, and estimates until then", () => {
  const all = frames(...ANSWER);
  const { status, firstTokenMs, tokensPerS, isEstimated, usage, durationMs } = measured(all);
  assert.deepEqual(
    { status, firstTokenMs, tokensPerS, isEstimated, usage, durationMs },
    { status: "succeeded", firstTokenMs: 100, tokensPerS: 50, isEstimated: false, usage: USAGE, durationMs: 900 },
  );
  const early = measured(all.slice(0, 5));
  assert.deepEqual([early.status, early.tokensPerS, early.isEstimated], ["streaming", null, true]);
  assert.equal(measured(frames(...TOOLS)).status, "waiting");
  const answered = frames(...TOOLS, [80, "approval_response", { tool_call_id: "b", approved: true }]);
  assert.equal(measured(answered).status, "streaming");
  assert.equal(measured([]).status, "idle");
  assert.equal(measured(all.slice(0, 3)).tokensPerS, null);
});

test("a speed is known from ten tokens on", () => {
  assert.equal(speedOf({ tokens: 9, writingMs: 100 }), null);
  assert.equal(speedOf({ tokens: 10, writingMs: 100 }), 100);
  assert.equal(speedOf({ tokens: 10, writingMs: 0 }), null);
});

test("the chart ends at the reported number of tokens", () => {
  const [seconds, tokens] = tokensOverTime(measured(frames(...ANSWER)).steps);
  assert.deepEqual(seconds, [0, 0.1, 0.3, 0.5]);
  assert.equal(tokens.at(-1), 20);
  assert.deepEqual(tokensOverTime([]), [[0], [0]]);
});

test("rows are filtered by kind and text, and keep the gap to the event before them", () => {
  const all = frames(...ANSWER);
  const outputs = rowsOf(all, { kind: "partial_output" });
  assert.deepEqual(outputs.map(({ event, gapMs }) => [event.seq, gapMs]), [[4, 200], [5, 200]]);
  assert.deepEqual(rowsOf(all, { text: "HELLO W" }).map(({ event }) => event.seq), [7]);
  assert.equal(rowsOf(all).length, all.length);
  assert.deepEqual(kindsOf(all).find(({ kind }) => kind === "partial_output"), { kind: "partial_output", count: 2 });
});

test("only the rows in sight are rendered", () => {
  const sight = { count: 20_000, height: 400, rowHeight: 28 };
  assert.deepEqual(rowsInSight({ ...sight, scrollTop: 0 }), { first: 0, end: 23, slots: 32 });
  assert.deepEqual(rowsInSight({ ...sight, scrollTop: 28 * 19_990 }), { first: 19_982, end: 20_000, slots: 32 });
  assert.deepEqual(rowsInSight({ ...sight, count: 3, scrollTop: 9_999 }), { first: 3, end: 3, slots: 32 });
  for (let scrollTop = 0; scrollTop < 2_000; scrollTop += 1) {
    const { first, end, slots } = rowsInSight({ ...sight, scrollTop });
    assert.ok(end - first <= slots); // two rows never share an element
  }
});

test("every kind of event has a summary, also one of a later version", () => {
  const later = { event: "constructor", data: { a: 1 } };
  assert.equal(summaryOf(later), '{"a":1}');
  for (const event of [...run(...ANSWER), ...run(...TOOLS)]) assert.equal(typeof summaryOf(event), "string");
  assert.ok(summaryOf(run([0, "final_output", { content: "x".repeat(1e6) }])[0]).length < 200);
});

test("a JavaScript literal is the value", () => {
  const value = { ok: true, "a-b": [1, null, "</script>\u2028'\"`${x}"], long: "x".repeat(200), "": {}, list: [] };
  Object.defineProperty(value, "__proto__", { value: 1, enumerable: true });
  const made = new Function(`return ${javascript(value)}`)();
  assert.deepEqual(Object.entries(made), Object.entries(value));
  assert.equal(Object.getPrototypeOf(made), Object.prototype);
});

test("a replay has the run's own timing, with long pauses shortened", () => {
  const offsets = offsetsOf(run([0, "a", {}], [100, "b", {}], [100, "c", {}], [9_000_000, "d", {}], [8_999_000, "e", {}]));
  assert.deepEqual(offsets, [0, 100, 100, 5_100, 5_100]);
  assert.deepEqual([-1, 0, 99, 100, 5_100, Infinity].map((ms) => positionAt(offsets, ms)), [0, 1, 1, 3, 5, 5]);
  assert.deepEqual([0, 1, 2, 5].map((position) => timeAt(offsets, position)), [0, 0, 100, 5_100]);
});

test("a replay says whether it plays, is paused, or has come to the end of a record that is cut off", () => {
  const all = frames(...ANSWER);
  const some = all.slice(0, 4);
  assert.deepEqual([isCut(all), isCut(some)], [false, true]);
  assert.equal(replayStatus({ frames: some, position: 2, isPlaying: true }), "streaming");
  assert.equal(replayStatus({ frames: some, position: 2, isPlaying: false }), "paused");
  assert.equal(replayStatus({ frames: some, position: 4, isPlaying: false }), "incomplete");
});

const jsonl = (events) => encoder.encode(events.map((event) => `${JSON.stringify(event)}\n`).join(""));

function sse(events) {
  const wire = events.map((event) => `id: ${event.seq}\nevent: ${event.event}\ndata: ${JSON.stringify(event)}\n\n`);
  return encoder.encode(`: ping\n\n${wire.join("")}event: draining\nretry: 2000\n\n`);
}

test("a run file is read in both forms, with either line end, also if it was cut off", () => {
  const events = run(...ANSWER);
  assert.deepEqual(eventsIn(jsonl(events)), events);
  assert.deepEqual(eventsIn(sse(events)), events);
  assert.deepEqual(eventsIn(jsonl(events.slice(0, 3))), events.slice(0, 3));
  const windows = new TextDecoder().decode(sse(events)).replaceAll("\n", "\r\n");
  assert.deepEqual(eventsIn(encoder.encode(windows)), events);
  const later = run([0, "run_started", { model: "m" }], [1, "constructor", { anything: [] }]);
  assert.deepEqual(eventsIn(jsonl(later)), later);
});

test("a run file is read up to its last whole event, wherever it was cut off", () => {
  const events = run(...ANSWER.slice(0, 3), [300, "partial_output", { content: "Zoë 🎉" }]);
  const stream = new TextDecoder().decode(sse(events)).split("event: draining")[0];
  for (const whole of [jsonl(events), encoder.encode(stream)]) {
    const first = whole.indexOf(10, whole.indexOf(123)); // the end of the first event
    for (let end = first; end <= whole.length; end += 1) {
      const found = eventsIn(whole.subarray(0, end));
      assert.deepEqual(found, events.slice(0, found.length));
      const complete = new TextDecoder().decode(whole.subarray(0, end)).match(/}}(?=\n|$)/g).length;
      assert.equal(found.length, complete);
    }
  }
});

test("a broken or hostile run file is refused with the line and the reason", () => {
  const events = run(...ANSWER);
  const changed = (place, change) => jsonl(events.map((event, at) => (at === place ? { ...event, ...change } : event)));
  const cases = [
    [new Uint8Array(0), /no run events/],
    [encoder.encode("\n\n \n"), /no run events/],
    [encoder.encode("<!doctype html><script>alert(1)</script>"), /no run events/],
    [new Uint8Array([0x89, 0x50, 0x4e, 0x47, 0xff]), /isn't UTF-8 text/],
    [encoder.encode("{\n"), /Line 1 isn't valid JSON/],
    [encoder.encode("{"), /no run events/],
    [encoder.encode(`{\n${JSON.stringify(events[0])}`), /Line 1 isn't valid JSON/],
    [encoder.encode(`{"a":1}\n`), /Line 1 isn't a run event/],
    [encoder.encode(`${JSON.stringify(events[0])}\nnull\n`), /Line 2 isn't a run event/],
    [encoder.encode(`${JSON.stringify(events[0])}\n[]\n`), /Line 2 isn't a run event/],
    [encoder.encode(`{"a":${"[".repeat(5_000)}${"]".repeat(5_000)}}\n`), /nested/],
    [jsonl(events.slice(1)), /event 2, expected 1/],
    [jsonl([...events.slice(0, 2), ...events.slice(3)]), /event 4, expected 3/],
    [jsonl([...events.slice(0, 2), events[1]]), /event 2, expected 3/],
    [changed(2, { run_id: "run_2" }), /another run/],
    [changed(2, { event: "complete", data: COMPLETE }), /more events follow/],
    [changed(3, { data: { content: { toString: 1 } } }), /"data.content"/],
    [changed(3, { data: null }), /"data"/],
    [changed(3, { event: "waiting", data: { pending: null } }), /"data.pending"/],
    [changed(3, { event: "waiting", data: { pending: [null] } }), /"data.pending"/],
    [changed(3, { event: "waiting", data: { pending: [{}] } }), /"data.pending"/],
    [changed(3, { event: "budget_response", data: { approved: "yes" } }), /"data.approved"/],
    [changed(3, { event: "tool_use", data: { tool_call_id: "a", name: "b", arguments: [] } }), /"data.arguments"/],
    [changed(3, { timestamp: "yesterday" }), /"timestamp"/],
    [changed(3, { seq: "4" }), /"seq"/],
    [changed(7, { data: { ...COMPLETE, usage: {} } }), /"data.usage"/],
    [changed(7, { data: { ...COMPLETE, usage: { ...USAGE, cost_usd: "<b>" } } }), /"data.usage"/],
    [changed(7, { data: { ...COMPLETE, status: "<b>" } }), /"data.status"/],
    [encoder.encode("{}\n".repeat(MAX_EVENTS + 1)), /more than/],
  ];
  for (const [bytes, reason] of cases) {
    assert.throws(() => eventsIn(bytes), (error) => error instanceof RunFileError && reason.test(error.message), reason);
  }
});

test("the stored log gives the frames and their size on the wire", () => {
  const events = run(...ANSWER);
  const stored = framesIn(new TextDecoder().decode(jsonl(events)));
  assert.deepEqual(stored.map(({ event }) => event), events);
  const [first] = events;
  const wire = `id: 1\nevent: run_started\ndata: ${JSON.stringify(first)}\n\n`;
  assert.equal(stored[0].bytes, wire.length);
});

test("frames are found however the bytes are cut", () => {
  const bytes = sse(run(...ANSWER));
  for (const size of [1, 2, 3, 7, bytes.length]) {
    const split = frameSplitter();
    const found = [];
    for (let start = 0; start < bytes.length; start += size) found.push(...split(bytes.subarray(start, start + size)));
    assert.deepEqual(found.map(seqOf), [null, 1, 2, 3, 4, 5, 6, 7, 8, null]);
    assert.equal(Buffer.concat(found).toString(), Buffer.from(bytes).toString());
  }
});

test("the proof finds a lost, doubled, changed or misplaced event", () => {
  const stored = run(...ANSWER);
  const broken = (received) => proofOf(received, stored).filter(({ holds }) => !holds).map(({ title }) => title);
  assert.deepEqual(broken(stored), []);
  assert.ok(broken(stored.filter(({ seq }) => seq !== 5)).includes("Nothing lost"));
  assert.ok(broken(stored.filter(({ seq }) => seq !== 5)).includes("Same text"));
  assert.ok(broken([...stored.slice(0, 5), ...stored.slice(4)]).includes("No duplicates"));
  assert.deepEqual(broken(stored.with(2, { ...stored[2], timestamp: "x" })), ["Nothing changed"]);
  assert.ok(broken([stored[1], stored[0], ...stored.slice(2)]).includes("Nothing lost"));
  assert.ok(broken([]).includes("Nothing changed"));
});

/** A server that streams `count` frames after Last-Event-ID, one a write, and stays open until it is left. */
async function streaming(count, use) {
  const server = createServer((request, response) => {
    const after = Number(request.headers["last-event-id"] ?? 0);
    const { pathname, searchParams } = new URL(request.url, "http://localhost");
    const runId = searchParams.get("run") ?? "run_1";
    response.writeHead(200, { "Content-Type": "text/event-stream", "X-Run-ID": runId });
    response.write(": ping\n\n");
    for (let seq = after + 1; seq <= count; seq += 1) {
      response.write(`id: ${seq}\nevent: ${seq < count ? "x" : "complete"}\ndata: {}\n\n`);
    }
    if (pathname === "/ended") response.end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    await use(`http://127.0.0.1:${server.address().port}`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

/** Reads a response's frames. Returns their numbers and, if the body broke, the error. */
async function read(response, until = Infinity) {
  const split = frameSplitter();
  const seqs = [];
  try {
    for await (const bytes of response.body) {
      seqs.push(...split(bytes).map(seqOf).filter(Boolean));
      if (seqs.at(-1) >= until) break;
    }
    return { seqs, error: null };
  } catch (error) {
    return { seqs, error };
  }
}

const count = (from, to) => Array.from({ length: to - from + 1 }, (_, place) => from + place);

test("a line without a fault passes everything on", () =>
  streaming(40, async (url) => {
    const line = new Line();
    assert.deepEqual(await read(await line.fetch(`${url}/ended`)), { seqs: count(1, 40), error: null });
    assert.deepEqual(line.get().connections, [{ runId: "run_1", first: 1, last: 40, end: "whole" }]);
    assert.deepEqual((await read(await line.fetch(`${url}/open`), 30)).seqs.slice(0, 30), count(1, 30));
    assert.notEqual(line.get().connections[1].end, null);
  }));

test("an event is withheld with all after it, once, and the next connection brings the rest", () =>
  streaming(40, async (url) => {
    const line = new Line();
    line.dropAt(17);
    const first = await read(await line.fetch(`${url}/open`));
    assert.deepEqual(first.seqs, count(1, 16));
    assert.equal(first.error.message, "network error");
    const headers = { "Last-Event-ID": "16" };
    assert.deepEqual((await read(await line.fetch(`${url}/ended`, { headers }))).seqs, count(17, 40));
    assert.deepEqual(line.get().connections.map(({ end }) => end), ["dropped", "whole"]);
    assert.equal(line.get().dropSeq, null);
  }));

test("a line keeps the connections of its latest run only", () =>
  streaming(3, async (url) => {
    const line = new Line();
    for (const run of ["a", "b", "b"]) await read(await line.fetch(`${url}/ended?run=${run}`));
    assert.deepEqual(line.get().connections.map(({ runId }) => runId), ["b", "b"]);
  }));

test("a cut breaks the open streams", () =>
  streaming(3, async (url) => {
    const line = new Line();
    const reading = read(await line.fetch(`${url}/open`));
    while (line.get().connections[0].last === null) await new Promise((resolve) => line.subscribe(resolve));
    line.cut();
    assert.equal((await reading).error.message, "network error");
    assert.equal(line.get().connections[0].end, "cut");
  }));

test("an outage breaks what is open, refuses what is asked, and ends by itself", () =>
  streaming(3, async (url) => {
    const line = new Line();
    const reading = read(await line.fetch(`${url}/open`));
    line.goOffline(50);
    const refused = line.fetch(`${url}/ended`);
    await assert.rejects(refused, new TypeError("Failed to fetch"));
    assert.equal((await reading).error.message, "network error");
    while (line.get().offlineUntil !== null) await new Promise((resolve) => line.subscribe(resolve));
    assert.deepEqual((await read(await line.fetch(`${url}/ended`))).seqs, [1, 2, 3]);
  }));

test("a slow line passes one event at a time, and the rest at once when it is fast again", () =>
  streaming(40, async (url) => {
    const line = new Line();
    line.setPace(50);
    const begun = performance.now();
    const slow = await line.fetch(`${url}/ended`);
    const pieces = slow.body.getReader();
    const split = frameSplitter();
    const seqs = [];
    while ((seqs.at(-1) ?? 0) < 5) {
      const found = split((await pieces.read()).value).map(seqOf);
      assert.equal(found.length, 1);
      seqs.push(...found.filter(Boolean));
    }
    assert.ok(performance.now() - begun >= 5 * 20 - 10);
    line.setPace(null);
    pieces.releaseLock();
    assert.deepEqual([...seqs, ...(await read(slow)).seqs], count(1, 40));
  }));

test("a caller's signal still ends a request", () =>
  streaming(3, async (url) => {
    const line = new Line();
    const leaving = new AbortController();
    const response = await line.fetch(`${url}/open`, { signal: leaving.signal });
    const reading = read(response);
    leaving.abort();
    assert.notEqual((await reading).error, null);
  }));
