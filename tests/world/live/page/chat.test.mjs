/* The chat's modules that need no page: blocks of markdown, numbers as people read them, files of a question. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { isReturned, unsentIn } from "agent-stream";

import { contentOf, partsOf, readAttachment } from "../../../../static/page/chat/attachments.js";
import { growBlocks, LIMIT } from "../../../../static/page/chat/blocks.js";
import { cost, count, duration, size, visibleJson } from "../../../../static/page/chat/format.js";
import { treeOf } from "../../../../static/page/chat/json_tree.js";
import { pagesOf } from "../../../../static/page/chat/pages.js";
import { takeFrame } from "../../../../static/page/frames.js";
import { store } from "../../../../static/page/store.js";

const MARKDOWN = [
  "# Title",
  "A paragraph\nof two lines.",
  "- one\n- two\n\n- three\n\n  its second paragraph",
  "1. Install:\n   ```bash\n   pip install x\n\n   x --help\n   ```\n2. Use it.",
  "Rows:\n| a | b |\n|---|--:|\n| 1 | 2 |",
  "~~~\n```\nnot the end\n~~~",
  "````md\n```js\nlet a;\n```\n````",
  "- ```py\n  x = 1\n  ```",
  "> quote\n\n    indented code\n\n    more of it",
  "| a | b |\n|---|---|\n" + "| some text | 12 |\n".repeat(400),
  "- an item\n  of two lines\n".repeat(300),
  "```python\n" + "def f():\n    return 1\n\n".repeat(400) + "```",
  "a long line ".repeat(1000),
  "x".repeat(10_000),
  "\r\nWindows\r\n\r\nlines\r\n```\r\ncode\r\n```\r\n",
  "```never closed\nlet a = 1;",
];

/** The blocks of a text that has grown by so many characters at a time. */
function grown(text, step) {
  let blocks = null;
  for (let end = step; end < text.length; end += step) blocks = growBlocks(blocks, text.slice(0, end), false);
  return growBlocks(blocks, text, true).blocks;
}

test("a text has the same blocks however it grew", () => {
  for (const text of [...MARKDOWN, MARKDOWN.join("\n\n")]) {
    const whole = growBlocks(null, text, true).blocks;
    for (const step of text.length > 1000 ? [101] : [1, 7]) assert.deepEqual(grown(text, step), whole);
    assert.ok(whole.every(({ isClosed }) => isClosed));
  }
});

test("a closed block stays the same object, so it isn't drawn again", () => {
  const before = growBlocks(null, "# Title\n\nText.\n\nMo", false);
  const after = growBlocks(before, "# Title\n\nText.\n\nMore.\n\nEnd", false);
  assert.equal(after.blocks[0], before.blocks[0]);
  assert.equal(after.blocks[0].isClosed, true);
  assert.equal(after.blocks.at(-1).isClosed, false);
});

test("a text that is replaced has new blocks", () => {
  const before = growBlocks(null, "# Title\n\nText.\n\n", false);
  assert.deepEqual(growBlocks(before, "Another.", true), growBlocks(null, "Another.", true));
});

test("no block is so long that parsing it takes long", () => {
  for (const text of MARKDOWN) {
    for (const { source } of growBlocks(null, text, true).blocks) assert.ok(source.length <= 2 * LIMIT + 100);
  }
});

test("nothing is lost: the blocks have every word", () => {
  const words = (text) => text.match(/\w+/g);
  for (const text of MARKDOWN.slice(0, 8)) {
    const { blocks } = growBlocks(null, text, true);
    const shown = blocks.map(({ info = "", source }) => `${info} ${source}`).join(" ");
    assert.deepEqual(words(shown), words(text));
  }
});

test("the kinds of blocks", () => {
  const kinds = (text) => growBlocks(null, text, true).blocks.map(({ kind }) => kind);
  assert.deepEqual(kinds(MARKDOWN[3]), ["text", "code", "text"]);
  assert.deepEqual(kinds(MARKDOWN[4]), ["text", "table"]);
  assert.deepEqual(kinds(MARKDOWN[5]), ["code"]);
  assert.deepEqual(kinds(MARKDOWN[6]), ["code"]);
  assert.deepEqual(kinds(MARKDOWN[7]), ["text", "code"]);
});

test("the pieces of long code and of a long table belong together", () => {
  for (const text of [MARKDOWN[9], MARKDOWN[11]]) {
    const { blocks } = growBlocks(null, text, true);
    assert.ok(blocks.length > 3);
    assert.equal(new Set(blocks.map(({ group }) => group)).size, 1);
  }
  const code = growBlocks(null, MARKDOWN[11], true).blocks.map(({ source }) => source);
  assert.equal(code.join(""), "def f():\n    return 1\n\n".repeat(400));
});

test("numbers as people read them", () => {
  assert.deepEqual([7.4, 840, 3100, 42_000, 125_000, 11_400_000].map(duration), [
    ...["7 ms", "840 ms", "3.1 s", "42 s", "2 min 5 s", "3 h 10 min"],
  ]);
  assert.deepEqual([count(1, "token", "tokens"), count(1234, "token", "tokens")], ["1 token", "1,234 tokens"]);
  assert.deepEqual([10, 12_400, 3_400_000].map(size), ["1 kB", "12 kB", "3.4 MB"]);
});

test("a cost is short, never rounded to nothing, and unknown where tokens have no price", () => {
  const amounts = [0, 1e-12, 0.000_099, 0.0001, 0.002_149, 0.0999, 0.125, 12.3456, 1234.5];
  assert.deepEqual(amounts.map((cost_usd) => cost({ total_tokens: 9, cost_usd })), [
    ...["$0", "< $0.0001", "< $0.0001", "$0.00010", "$0.0021", "$0.10", "$0.13", "$12.35", "$1,234.50"],
  ]);
  const counted = [{ input_tokens: 3 }, { output_tokens: 3 }, { total_tokens: 3 }];
  for (const usage of counted) assert.equal(cost(usage), "price unknown");
  for (const usage of [null, undefined, { input_tokens: null, output_tokens: 0, total_tokens: null }]) assert.equal(cost(usage), null);
});

test("JSON shows characters that can't be seen, and stays the same JSON", () => {
  const value = { "a\u202eb": "\u200bx\u2066\ufeff", text: "Grüße 😀" };
  const shown = visibleJson(JSON.stringify(value));
  assert.deepEqual(JSON.parse(shown), value);
  assert.match(shown, /a\\u202eb/);
  assert.match(shown, /Grüße 😀/);
  assert.equal(visibleJson('{"id":9007199254740993}'), '{\n  "id": 9007199254740993\n}');
});

test("a question's content gives its text and files back", async () => {
  const read = await readAttachment(new File(["some notes"], "notes.txt", { type: "text/plain" }));
  const content = contentOf("Read this", [read]);
  assert.deepEqual(content, [
    { type: "text", text: "Read this" },
    { type: "text", text: "File notes.txt:\n\nsome notes" },
  ]);
  assert.deepEqual(partsOf(content), { text: "Read this", attachments: [read] });
  assert.equal(contentOf("Only text", []), "Only text");
  assert.deepEqual(contentOf(" ", [read]), [read.part]);
});

test("a file that is neither text nor an image is refused", async () => {
  const bytes = new Uint8Array([0xff, 0xfe, 0x00]);
  for (const name of ["a.txt", "b.bin"]) {
    assert.match((await readAttachment(new File([bytes], name))).problem, /isn't a text file or a supported image/);
  }
});

test("a question comes back if it was refused or stopped, and not while it is sent or once it has arrived", () => {
  const question = (message_id, run_id, status, content = "Hi") => ({ role: "user", message_id, run_id, status, content });
  const sent = question("key", "", "queued");
  const earlier = question("m1", "run_1", "succeeded", "Before");
  assert.equal(unsentIn([earlier, sent]), sent);
  assert.equal(unsentIn([earlier, question("key", "run_2", "queued")]), null);
  for (const after of [[sent], [question("key", "run_2", "running")], [question("m2", "run_2", "running")]]) {
    assert.equal(isReturned(sent, [earlier, ...after]), false);
  }
  for (const after of [[], [question("key", "", "cancelled")], [question("key", "", "failed")]]) {
    assert.equal(isReturned(sent, [earlier, ...after]), true);
  }
  assert.equal(isReturned(null, []), false);
});

test("only links to web pages are shown, each by its title or its host", () => {
  const unsafe = ["javascript:alert(1)", "data:text/html,x", "/local", "", "https://"].map((url) => ({ url, title: "Bad" }));
  const sources = [...unsafe, { url: "https://a.example/x?y", title: "A", snippet: "about A" }, { url: "http://b.example" }];
  assert.deepEqual(pagesOf(sources), [
    { number: 6, href: "https://a.example/x?y", host: "a.example", label: "A", snippet: "about A" },
    { number: 7, href: "http://b.example/", host: "b.example", label: "b.example", snippet: undefined },
  ]);
});

/** The JSON of a node of a tree. */
function jsonIn({ text, children }) {
  if (!children) return text;
  const entries = children.map((child) => (text === "{" ? `"${child.name}":${jsonIn(child)}` : jsonIn(child)));
  return text === "{" ? `{${entries.join(",")}}` : `[${entries.join(",")}]`;
}

test("a tree of JSON has each digit, name and text, and gives the same JSON back", () => {
  const json = String.raw`{"id":9007199254740993,"share":1.0,"a\": {":["x,","\"k\": {","]",{},[],[[1]],"a\nb"],"__proto__":{"":null},"\u202e":true}`;
  const tree = treeOf(json);
  assert.equal(jsonIn(tree), json);
  assert.deepEqual(tree.children.map(({ name }) => name), ["id", "share", String.raw`a\": {`, "__proto__", String.raw`\u202e`]);
  assert.deepEqual(tree.children[2].children.map(({ text }) => text), [
    ...[`"x,"`, String.raw`"\"k\": {"`, `"]"`, "{}", "[]", "[", String.raw`"a\nb"`],
  ]);
  for (const plain of ["null", "1.50", `"text"`, "[]", "{}"]) assert.equal(jsonIn(treeOf(plain)), plain);
});

test("the events of a run that is read again take the place of the earlier ones", async () => {
  const take = (...seqs) => seqs.forEach((seq) => takeFrame({ event: { run_id: "run_1", seq } }));
  take(1, 2, 3, 4);
  take(1, 2);
  await new Promise((resolve) => {
    const stop = store.subscribe(() => resolve(stop()));
  });
  assert.deepEqual(
    store.get().frames.map(({ event }) => event.seq),
    [1, 2],
  );
});
