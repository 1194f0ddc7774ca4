// Numbers that JavaScript can't hold keep their digits, and a reloaded page shows what a call was made with.
// Some tests need the live service at AGENT_STREAM_URL.
import assert from "node:assert/strict";
import { test } from "node:test";
import { AgentStream, callsIn, type ClientTool, Conversation, eventIn, madeWith, type MessageList, prettyJson, type RunState, type ToolCall } from "agent-stream";
import { approval } from "../src/decisions";
import { parse, parseWithBigints, stringify } from "../src/exact_json";
import { EventReader } from "../src/frames";

const baseUrl = process.env["AGENT_STREAM_URL"] ?? "";
const agent = new AgentStream({ baseUrl });
const sessionId = () => `exact-${crypto.randomUUID()}`;

const HARD = String.raw`{"2":9007199254740993,"1":[1.0,-0.0,0.1000000000000000055,1e400],"":"a \"b\" \\","arguments":{"arguments":{}},"é":"é","__proto__":{"x":12345678901234567890}}`;

test("arguments keep their text, wherever they are, and whatever is in them", () => {
  const event = `{"event":"tool_use","data":{"name":"\\"arguments\\":{","arguments":${HARD},"source":"python"},"seq":1}`;
  const read = eventIn(event);
  assert.ok(read.event === "tool_use");
  assert.equal(read.data.arguments_text, HARD);
  assert.equal(JSON.stringify(read.data.arguments), JSON.stringify(JSON.parse(HARD)));
  const spaced = HARD.replace("é", "\\u00e9").replace('{"2":', '{ "2" :\n').replace("1.0,-0.0", "1.0 ,\t-0.0");
  assert.equal(parse<{ arguments_text: string }[]>(`[1, {"arguments" : ${spaced}}]`)[1]?.arguments_text, HARD);
  const calls = parse<{ calls: { arguments_text: string; response: { arguments_text: string } }[] }>(
    `{"calls":[{"arguments":{"a":1.0},"response":{"arguments":{"a":2.0}}},{"arguments":{},"response":{}}]}`,
  ).calls;
  const texts = calls.map(({ arguments_text, response }) => [arguments_text, response.arguments_text]);
  assert.deepEqual(texts, [['{"a":1.0}', '{"a":2.0}'], ["{}", undefined]]);
  for (const twice of ['{"data":{"arguments":{}},"data":5}', '{"data":{"arguments":{}},"data":null}']) assert.ok(parse(twice));
  assert.deepEqual(parse('{"arguments":"no object"}'), { arguments: "no object" });
});

test("JSON is laid out as JSON.stringify does it, with the numbers as they were written", () => {
  for (const value of [{}, [], [[]], { a: [], b: {}, c: [1, { d: "{}[]:,\"\\\n" }] }, "text", 1.5, null, [true, false]]) {
    assert.equal(prettyJson(JSON.stringify(value)), JSON.stringify(value, null, 2));
    assert.equal(prettyJson(JSON.stringify(value, null, 7)), JSON.stringify(value, null, 2));
  }
  assert.equal(prettyJson('{"id":12345678901234567890,"n":1.0}'), '{\n  "id": 12345678901234567890,\n  "n": 1.0\n}');
  for (const mistake of ["", "{", "{'a':1}", "01", "NaN"]) assert.throws(() => prettyJson(mistake), SyntaxError);
});

test("a page's tool gets long whole numbers as bigints, and other values as they are", () => {
  const json = '{"a":9007199254740993,"b":-12345678901234567890,"c":9007199254740991,"d":1.0,"e":"9007199254740993"}';
  const expected = { a: 9007199254740993n, b: -12345678901234567890n, c: 9007199254740991, d: 1, e: "9007199254740993" };
  assert.deepEqual(parseWithBigints(json), expected);
});

test("bigints are written with every digit", () => {
  const value = { a: 9007199254740993n, list: [-12345678901234567890n, 1n], text: "9007199254740993", n: 1.5 };
  const json = '{"a":9007199254740993,"list":[-12345678901234567890,1],"text":"9007199254740993","n":1.5}';
  assert.equal(stringify(value), json);
});

test("a page's tool can return the long whole number that it was given", async () => {
  const id = 9007199254740993n;
  const clientTools: Record<string, ClientTool> = { get_location: { run: () => ({ id, list: [id] }) } };
  const run = agent.simulate({ scenario: "client_tool", delay_ms: 0 }, { clientTools });
  let result = "";
  for await (const event of run) if (event.event === "tool_result") result = event.data.content;
  assert.equal(result.replaceAll(" ", ""), `{"id":${id},"list":[${id}]}`);
});

test("a string may have millions of escapes", () => {
  for (const text of ["\n", "\\", '"']) {
    const args = JSON.stringify({ text: text.repeat(8_000_000) });
    assert.equal(parse<{ arguments_text: string }>(`{"arguments":${args}}`).arguments_text, args);
  }
});

test("a fault of the reader is no outage, and a broken frame is one", async () => {
  const batches = async (data: string) => {
    const { body } = new Response(`data: ${data}\n\n`);
    for await (const batch of new EventReader(body!, 0, 10_000, new AbortController().signal).batches()) assert.ok(batch);
  };
  await assert.rejects(batches('{"seq":1}'), TypeError);
  await batches("{");
});

test("an approval has the text of the arguments, digit for digit", () => {
  assert.equal(approval(), '{"approved":true}');
  assert.equal(approval({ arguments: { a: 1.5, b: 2 ** 53 - 1 } }), '{"approved":true,"arguments":{"a":1.5,"b":9007199254740991}}');
  assert.equal(approval({ arguments_text: HARD, arguments: {} }), `{"approved":true,"arguments":${HARD}}`);
});

test("changed arguments that can't be sent exactly, or aren't an object, are refused", async () => {
  const rounded = [2 ** 53, -(2 ** 60), 1e300, NaN, Infinity, 1n].map((id) => ({ arguments: { list: [{ id }] } }));
  const noObjects = ["", "[]", "null", "1", '{"a":1}}', '{"a":1},"approved":false', "{'a':1}"].map((text) => ({ arguments_text: text }));
  for (const changes of [...rounded, ...noObjects]) {
    assert.throws(() => approval(changes), { name: "RunFailed", code: "invalid_arguments" });
    assert.equal((await new Conversation({ baseUrl }).approve("call_1", changes))?.code, "invalid_arguments");
    await assert.rejects(agent.approve("run_1", "call_1", { approved: true, ...changes }), { code: "invalid_arguments" });
  }
});

test("a person's long numbers reach the call, and come back in the decision", async () => {
  const run = agent.simulate({ input: "?", scenario: "approval", delay_ms: 0 });
  const changed = '{"folder":12345678901234567890123,"depth":1.0}';
  let decided: string | undefined;
  let said = "";
  for await (const event of run) {
    if (event.event === "approval_request") await run.approve(event.data.tool_call_id, { arguments_text: changed });
    if (event.event === "approval_response") decided = event.data.arguments_text;
    if (event.event === "final_output") said = event.data.content;
  }
  assert.equal(decided, changed);
  assert.equal(said, "I deleted the folder 12345678901234567890123.");
});

/** The state of a conversation, once it is as wanted. */
function until(conversation: Conversation, wanted: (state: RunState) => boolean): Promise<RunState> {
  return new Promise((resolve) => {
    const look = () => wanted(conversation.get()) && (resolve(conversation.get()), stop());
    const stop = conversation.subscribe(look);
    look();
  });
}

const callsOf = ({ messages }: RunState): ToolCall[] => messages.flatMap(({ parts }) => callsIn(parts));

/** What a page that opens the session now shows of its calls. */
async function reloaded(id: string): Promise<ToolCall[]> {
  const conversation = new Conversation({ baseUrl, sessionId: id });
  const leave = conversation.mount();
  const state = await until(conversation, ({ messages }) => messages.length === 2);
  leave();
  return callsOf(state);
}

test("a page's tool is called with the digits that the model has written, which a reloaded page shows, too", async () => {
  const id = sessionId();
  const given: unknown[] = [];
  const find: ClientTool = { parameters: { type: "object" }, run: (args) => (given.push(args), "found") };
  const conversation = new Conversation({ baseUrl, sessionId: id, clientTools: { find } });
  await conversation.stream({ input: 'find {"id": 12345678901234567890, "share": 1.0}', model: "simulated/tools" });
  assert.deepEqual(given, [{ id: 12345678901234567890n, share: 1 }]);
  for (const [call] of [callsOf(conversation.get()), await reloaded(id)]) {
    assert.equal(call?.arguments_text, '{"id":12345678901234567890,"share":1.0}');
    assert.equal(call?.result?.content, "found");
  }
});

test("stored messages have the text of arguments, and the schemas of tools stay as they are", async () => {
  const id = sessionId();
  const schema = { type: "object", properties: { arguments: { type: "object" } } };
  const page = agent.stream({
    input: 'find {"id": 12345678901234567890}',
    model: "simulated/tools",
    session_id: id,
    client_tools: [{ name: "find", parameters: schema }],
  });
  for await (const event of page) {
    const [item] = event.event === "waiting" ? event.data.pending : [];
    if (item && "tool_call_id" in item) await page.sendToolResult(item.tool_call_id, "found");
  }
  const { messages } = await agent.sessions.messages(id);
  assert.equal(messages[1]?.tool_calls?.[0]?.arguments_text, '{"id":12345678901234567890}');
  const waiting = await agent.execute({ input: 'calculate {"expression": "1"}', model: "simulated/tools", tools: ["calculate"] });
  assert.equal(waiting.tool_calls[0]?.arguments_text, '{"expression":"1"}');
  const catalog = { tools: [{ name: "find", parameters: schema }] };
  const stored = new AgentStream({ baseUrl, fetch: async () => Response.json(catalog) });
  assert.deepEqual(await stored.tools(), catalog);
});

const decisions: [string, (conversation: Conversation, callId: string) => Promise<unknown>, string][] = [
  ["approved", (conversation, id) => conversation.approve(id), '{"expression":"1 + 1"}'],
  [
    "approved with changes",
    (conversation, id) => conversation.approve(id, { arguments_text: '{ "expression": "2 + 2" }' }),
    '{"expression":"2 + 2"}',
  ],
  ["refused", (conversation, id) => conversation.refuse(id, "Not on a Friday."), '{"expression":"1 + 1"}'],
];

for (const [how, decide, made] of decisions) {
  test(`a reloaded page shows a call that was ${how} as it was shown before`, async () => {
    const id = sessionId();
    const conversation = new Conversation({ baseUrl, sessionId: id });
    const tools = { tools: ["calculate"], require_approval: ["calculate"] };
    const answer = conversation.stream({ input: 'calculate {"expression": "1 + 1"}', model: "simulated/tools", ...tools });
    const { pending } = await until(conversation, ({ status }) => status === "waiting");
    assert.equal(pending[0]?.arguments_text, '{"expression":"1 + 1"}');
    assert.equal(await decide(conversation, pending[0].tool_call_id), null);
    assert.equal((await answer)?.status, "succeeded");
    const [[live], [stored]] = [callsOf(conversation.get()), await reloaded(id)];
    assert.ok(live && stored);
    assert.equal(madeWith(stored), made);
    assert.equal(madeWith(live), made);
    assert.ok(stored.approval_response);
    assert.deepEqual(stored.approval_response, live.approval_response);
    assert.deepEqual(stored.result?.content, live.result?.content);
  });
}

test("the value of an answer stays as it is, also where it looks like a call", () => {
  const data = '{"arguments":{"a":1},"data":{"arguments":{}},"list":[{"arguments":{}}]}';
  const read = eventIn(`{"event":"final_output","data":{"content":"","data":${data},"attempts":1},"seq":1}`);
  assert.ok(read.event === "final_output");
  assert.deepEqual(read.data.data, JSON.parse(data));
  const answer = parse<{ data: unknown; tool_calls: { arguments_text: string }[] }>(
    `{"run_id":"r","data":${data},"attempts":1,"tool_calls":[{"arguments":{"a":1.0}}]}`,
  );
  assert.deepEqual(answer.data, JSON.parse(data));
  assert.equal(answer.tool_calls[0]?.arguments_text, '{"a":1.0}');
});

test("the value of an answer has its text with each digit, also where it is no object", () => {
  for (const data of [HARD, `[${HARD}]`, '{"data":1.0,"attempts":2}', "12345678901234567890", "1.0", '"data"', "null"]) {
    const read = eventIn(`{"event":"final_output","data":{"content":"","data":${data},"attempts":1},"seq":1}`);
    assert.ok(read.event === "final_output");
    assert.equal(read.data.data_text, data);
    const [message] = parse<MessageList>(`{"messages":[{"role":"assistant","data":${data},"attempts":2}]}`).messages;
    assert.equal(message?.data_text, data);
    assert.deepEqual(message?.data, JSON.parse(data));
  }
  const plain = eventIn('{"event":"final_output","data":{"content":"\\"attempts\\""},"seq":1}');
  assert.deepEqual(plain.data, { content: '"attempts"' });
});
