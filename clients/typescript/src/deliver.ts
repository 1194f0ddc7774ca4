import { type AgentError, refusal, unreachable } from "./failures";
import type { Service } from "./service";
import { pause, rest, retryDelay } from "./timing";

/**
 * Sends a request that counts once however often it arrives, until the service has accepted or refused it. `send` resolves
 * with null if there was no response. The function passed to `expose` ends a pause. Resolves with null, or with the error if the service did not accept it.
 */
export async function deliver(
  service: Service,
  send: () => Promise<Response | null>,
  retries: number,
  signal: AbortSignal,
  expose?: (wake: () => void) => void,
): Promise<AgentError | null> {
  for (let failures = 0; ; failures += 1) {
    const response = await send();
    if (response?.ok) return null;
    const { error, isFinal } = response ? await refusal(response) : unreachable(service.url);
    const isHopeless = isFinal || failures >= (service.options.maxRetries ?? retries);
    if (isHopeless || signal.aborted) return error;
    await pause((error.retry_after ?? 0) * 1000, signal);
    await rest(retryDelay(failures), signal, expose);
  }
}
