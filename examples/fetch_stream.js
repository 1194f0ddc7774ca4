// Asks the agent with nothing but fetch, in a page or in Node 20 and newer: `node fetch_stream.js "Why is the sky blue?"`.

const MAX_TRIES = 5;

/**
 * Runs the agent and calls `onEvent` with each event, once and in order. If the connection breaks, it resumes after the last
 * event. If it breaks before the response, it sends the question again with the same key, which is the same run.
 *
 * Resolves with the data of `complete`, whatever its status. Rejects if the service refuses the request, or if the rest of
 * the run can't be read.
 *
 * JSON.parse rounds whole numbers beyond 2^53. If a person has to see such numbers in the arguments of a call, such as long ids,
 * use the package in clients/typescript: its events have `arguments_text`. An approval without `arguments` is exact in any case.
 */
async function streamAgent(request, onEvent, { url = "http://127.0.0.1:8000", path = "/api/agent/stream" } = {}) {
  const key = crypto.getRandomValues(new Uint32Array(4)).join("-");
  // Accept matters for refusals only: they are JSON instead of an `error` event.
  const headers = { "Content-Type": "application/json", Accept: "application/json", "Idempotency-Key": key };
  const start = { method: "POST", headers, body: JSON.stringify(request) };
  let events = null;
  let last = 0;
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const rest = { headers: { "Last-Event-ID": last } };
    const response = await (events ? fetch(events, rest) : fetch(url + path, start)).catch(() => null);
    if (response?.status === 200) {
      events = `${url}/api/agent/runs/${response.headers.get("X-Run-ID")}/events`;
      for await (const event of eventsOf(response)) {
        if (event.seq <= last) continue;
        last = event.seq;
        tries = 0;
        onEvent(event);
        if (event.event === "complete") return event.data;
      }
    } else if (response && (!events || response.status < 500)) {
      throw new Error(`HTTP ${response.status} ${await response.text()}`);
    }
    const wait = Number(response?.headers.get("Retry-After")) * 1000 + 500 * 2 ** tries * Math.random();
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
  if (!events) {
    throw new Error(`Can't reach ${url}: is the service running there, and does its CORS_ORIGINS allow this page?`);
  }
  throw new Error(`The connection was lost after event ${last}, and the rest of the answer could not be read.`);
}

/**
 * Answers an `approval_request` event of `streamAgent`. `decision` is { approved, arguments?, reason? }.
 *
 * Rejects if the service refuses the decision, for example because another person has decided differently. The same decision
 * can be sent again.
 */
async function decide({ run_id, data }, decision, { url = "http://127.0.0.1:8000" } = {}) {
  const response = await fetch(`${url}/api/agent/runs/${run_id}/approvals/${encodeURIComponent(data.tool_call_id)}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(decision),
  });
  if (!response.ok) throw new Error(`HTTP ${response.status} ${await response.text()}`);
}

async function* eventsOf(response) {
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read().catch(() => ({ done: true })); // a torn body is handled like one that ends early
    if (done) return;
    const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
    rest = lines.pop();
    for (const line of lines) if (line.startsWith("data: ")) yield JSON.parse(line.slice("data: ".length));
  }
}

async function main() {
  const input = process.argv.slice(2).join(" ") || "Why is the sky blue?";
  const show = ({ event, data, run_id }) => {
    if (event === "partial_output") process.stdout.write(data.content);
    if (event === "tool_use") console.error(`[${data.name} ${JSON.stringify(data.arguments)}]`);
    if (event === "approval_request") console.error(`[waiting for POST /api/agent/runs/${run_id}/approvals/${data.tool_call_id}]`);
    if (event === "step_restarted") console.error("\n[the text so far no longer counts: the step begins again]");
    if (event === "error") console.error(`${data.code}: ${data.message}`);
  };
  const { status } = await streamAgent({ input }, show, { url: process.env.AGENT_STREAM_URL });
  console.log();
  process.exitCode = status === "succeeded" ? 0 : 1;
}

if (typeof module !== "undefined") {
  module.exports = { streamAgent, decide };
  if (require.main === module) {
    main().catch((error) => {
      console.error(error.message);
      process.exitCode = 1;
    });
  }
}
