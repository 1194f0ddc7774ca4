// Reads SSE with eventsource-parser, so that a test in another language can ask what a reader that isn't ours makes of
// some bytes.
//
// Each line on stdin is a case: {"body": "<base64>", "sizes": [3, 1]}, a body that arrives in chunks of these sizes,
// the rest of it in one more. Each line on stdout is its answer: {"frames": [{"id", "event", "data"}], "comments": […],
// "retries": […], "errors": […]}, where null stands for an id or an event that a frame doesn't have.
import { createInterface } from "node:readline";
import { createParser } from "eventsource-parser";

function* chunks(body, sizes) {
  let start = 0;
  for (const size of sizes) {
    yield body.subarray(start, start + size);
    start += size;
  }
  yield body.subarray(start);
}

function read({ body, sizes = [] }) {
  const answer = { frames: [], comments: [], retries: [], errors: [] };
  const decoder = new TextDecoder();
  const parser = createParser({
    onEvent: ({ id = null, event = null, data }) => answer.frames.push({ id, event, data }),
    onComment: (comment) => answer.comments.push(comment),
    onRetry: (retry) => answer.retries.push(retry),
    onError: (error) => answer.errors.push(error.message),
  });
  for (const chunk of chunks(Buffer.from(body, "base64"), sizes)) parser.feed(decoder.decode(chunk, { stream: true }));
  return answer;
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(read(JSON.parse(line)))}\n`);
}
