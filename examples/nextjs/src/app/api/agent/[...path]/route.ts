/** Forwards the page's requests to the service, and adds the key, which the browser never receives. */

import type { NextRequest } from "next/server";

export const dynamic = "force-dynamic";

const REQUEST_HEADERS = ["accept", "content-type", "idempotency-key", "last-event-id", "x-request-id"];
const RESPONSE_HEADERS = ["cache-control", "content-type", "location", "retry-after", "x-request-id", "x-run-id"];

interface Context {
  params: Promise<{ path: string[] }>;
}

async function forward(request: NextRequest, { params }: Context): Promise<Response> {
  // Another site's page must not use the key. Check here, too, whether the user is logged in.
  if (request.headers.get("sec-fetch-site") === "cross-site") return refuse(403, "origin_refused");
  const { path } = await params;
  if (path.some((segment) => segment === "." || segment === "..")) return refuse(404, "not_found");
  const url = `${service()}/api/agent/${path.map(encodeURIComponent).join("/")}${request.nextUrl.search}`;
  try {
    const response = await fetch(url, requestOf(request));
    // The body passes through piece by piece. It is cancelled if the page leaves.
    return new Response(response.body, { status: response.status, headers: picked(response.headers, RESPONSE_HEADERS) });
  } catch {
    return refuse(503, "service_unreachable");
  }
}

function service(): string {
  return (process.env.AGENT_STREAM_URL || "http://127.0.0.1:8000").replace(/\/+$/, "");
}

function requestOf({ method, headers, body, signal }: NextRequest): RequestInit & { duplex: "half" } {
  const sent = picked(headers, REQUEST_HEADERS);
  sent.set("accept-encoding", "identity");
  if (process.env.AGENT_STREAM_KEY) sent.set("authorization", `Bearer ${process.env.AGENT_STREAM_KEY}`);
  return { method, headers: sent, body, signal, cache: "no-store", redirect: "manual", duplex: "half" };
}

function picked(headers: Headers, names: string[]): Headers {
  const found = new Headers();
  for (const name of names) {
    const value = headers.get(name);
    if (value !== null) found.set(name, value);
  }
  return found;
}

const MESSAGES = {
  origin_refused: "Pages of other sites can't use this route.",
  not_found: "This path does not exist.",
  service_unreachable: "The agent service does not respond. Is it running at AGENT_STREAM_URL?",
};

/** Reports an error of this route in the form of the service's own errors. */
function refuse(status: number, code: keyof typeof MESSAGES): Response {
  const error = { code, message: MESSAGES[code], retryable: status === 503 };
  return Response.json({ error }, { status, headers: { "Cache-Control": "no-store" } });
}

export { forward as GET, forward as POST, forward as PATCH, forward as DELETE };
