// A typed client out of nothing but the service's own description and an SSE parser from the shelf. The compiler checks
// it, together with what must not compile; run, it talks to the service at AGENT_STREAM_URL.
import { EventSourceParserStream } from "eventsource-parser/stream";
import type { components, paths } from "../src/openapi";

type Schemas = components["schemas"];
type StreamEvent = Schemas["StreamEvent"];
type Stream = paths["/api/agent/stream"]["post"];
type Simulate = paths["/api/agent/stream/simulate"]["post"];
type Execute = paths["/api/agent/execute"]["post"];
type BodyOf<Route extends { requestBody: { content: { "application/json": unknown } } }> =
  Route["requestBody"]["content"]["application/json"];

const base = process.env["AGENT_STREAM_URL"];

async function post(path: keyof paths, body: BodyOf<Stream> | BodyOf<Simulate>): Promise<Response> {
  const headers = { "Content-Type": "application/json", Accept: "application/json" };
  const response = await fetch(base + path, { method: "POST", headers, body: JSON.stringify(body) });
  if (response.ok) return response;
  const { error } = (await response.json()) as Schemas["ErrorBody"];
  const details = error.details?.map(({ loc, message }) => `${loc}: ${message}`) ?? [];
  throw new Error([`${error.code} (${error.request_id}): ${error.message}`, ...details].join("\n"));
}

async function* events(response: Response): AsyncGenerator<StreamEvent> {
  const text = response.body!.pipeThrough(new TextDecoderStream());
  const reader = text.pipeThrough(new EventSourceParserStream()).getReader();
  for (let read = await reader.read(); !read.done; read = await reader.read()) {
    yield JSON.parse(read.value.data) as StreamEvent;
  }
}

function line(event: StreamEvent): string {
  switch (event.event) {
    case "thinking":
    case "partial_output":
    case "final_output":
      return event.data.content;
    case "tool_use":
      return `${event.data.name}(${Object.keys(event.data.arguments).join(", ")}) by ${event.data.server ?? event.data.source}`;
    case "tool_result":
      return event.data.is_error ? `failed: ${event.data.content}` : event.data.content;
    case "error":
      return `${event.data.code}, ${event.data.retryable ? "try again" : "give up"}`;
    case "complete":
      return `${event.data.status}, ${event.data.usage.total_tokens ?? "unknown"} tokens in ${event.data.steps} steps`;
    default:
      return event.timestamp;
  }
}

async function main(): Promise<void> {
  for await (const event of events(await post("/api/agent/stream/simulate", { scenario: "tool_error", delay_ms: 0 }))) {
    console.log(event.seq, event.event, line(event));
  }
  const answer = (await (await post("/api/agent/execute", { input: "Hello" })).json()) as Schemas["AgentResponse"];
  const { output, tool_calls, usage, finish_reason = "unknown" } = answer;
  console.log(output, finish_reason, usage.output_tokens, tool_calls.length);
}

// What the description promises, for the compiler only

type Same<A, B> = [A, B, keyof A, keyof B] extends [B, A, keyof B, keyof A] ? true : false;
type Body<Route extends { responses: { 200: { content: unknown } } }> = Route["responses"][200]["content"];

type Refused = { "application/json": Schemas["ErrorBody"]; "text/event-stream": Schemas["RefusalEvent"] };

export const promises: true[] = [
  true satisfies Same<BodyOf<Stream>, Schemas["AgentRequest"]>,
  true satisfies Same<Body<Stream>, { "text/event-stream": StreamEvent }>,
  true satisfies Same<Body<Execute>, { "application/json": Schemas["AgentResponse"] }>,
  true satisfies Same<Stream["responses"]["4XX"]["content"], Refused>,
  true satisfies Same<Stream["responses"]["5XX"]["content"], Refused>,
  true satisfies Same<Execute["responses"]["4XX"]["content"], { "application/json": Schemas["ErrorBody"] }>,
];

export function rejected(event: StreamEvent): void {
  // @ts-expect-error: there is no such event
  if (event.event === "token") return;
  // @ts-expect-error: not every event has content
  console.log(event.data.content);
  if (event.event === "tool_use") {
    // @ts-expect-error: a tool call has `arguments`
    console.log(event.data.args);
    // @ts-expect-error: `server` may be absent
    console.log(event.data.server.length);
  }
  // @ts-expect-error: an input is required
  asRequest({ model: "openai/gpt-4.1" });
  // @ts-expect-error: an unknown field is refused
  asRequest({ input: "Hello", stream: true });
  // @ts-expect-error: an optional key is left out, and never null
  asRequest({ input: "Hello", stop: null });
}

function asRequest(request: Schemas["AgentRequest"]): Schemas["AgentRequest"] {
  return request;
}

asRequest({ input: "Hello" });
if (base) await main();
