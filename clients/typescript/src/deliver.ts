import { type AgentError, refusal, unreachable } from "./failures";
import type { Service } from "./service";
import { pause, rest, retryDelay } from "./timing";

interface Delivery {
  signal: AbortSignal;
  /** Called before each pause with a function that ends it. */
  expose: (wake: () => void) => void;
  /** Called with the error of each try that is followed by another one. */
  onRetry?: (error: AgentError) => void;
}

/**
 * Sends a request that counts once however often it arrives, until the service has accepted or refused it. `send` resolves
 * with null if there was no response. Resolves with null, or with the error if the service did not accept the request.
 */
export async function deliver(
  service: Service,
  send: () => Promise<Response | null>,
  { signal, expose, onRetry }: Delivery,
): Promise<AgentError | null> {
  for (let failures = 0; ; failures += 1) {
    const response = await send();
    if (response?.ok) return null;
    const { error, isFinal } = response ? await refusal(response) : unreachable(service.url);
    const isHopeless = isFinal || failures >= (service.options.maxRetries ?? Infinity);
    if (isHopeless || signal.aborted) return error;
    onRetry?.(error);
    await pause((error.retry_after ?? 0) * 1000, signal);
    await rest(retryDelay(failures), signal, expose);
  }
}
