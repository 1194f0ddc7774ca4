/** Requests to the service's public routes, for JSON. */

/** The service's own address: the page's folder, so that a proxy may serve it below a path. */
export const BASE_URL = new URL(".", document.baseURI).href.replace(/\/$/, "");

/** An error that the service reported, or the lack of a response (`network`). */
class ApiError extends Error {
  constructor({ code, message, request_id }) {
    super(message);
    this.code = code;
    this.requestId = request_id;
  }
}

/** Sends a request and returns the body of its response, or null if it has none. Throws ApiError. */
export async function api(path, { method = "GET", body } = {}) {
  const response = await fetch(`${BASE_URL}${path}`, {
    method,
    headers: { Accept: "application/json", ...(body !== undefined && { "Content-Type": "application/json" }) },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  }).catch(() => {
    throw new ApiError({ code: "network", message: "Can't reach the service." });
  });
  if (response.status === 204) return null;
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  throw new ApiError(answer.error ?? { code: `http_${response.status}`, message: `HTTP ${response.status}` });
}
