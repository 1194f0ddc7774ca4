import { type AgentError, refusal, unreachable } from "./failures";
import type { FollowedRun } from "./followed_run";
import { isStream } from "./frames";
import type { Service } from "./service";
import { pause, QUESTION_RETRIES, rest, retryDelay } from "./timing";

/**
 * Sends an answer to a waiting run. It is sent again if it may not have arrived: the same answer twice counts once.
 * Resolves with null, or with the error if the service did not accept it.
 */
export async function answer(
  service: Service,
  run: FollowedRun | null,
  path: string,
  body: object | string,
  retries: number = QUESTION_RETRIES,
): Promise<AgentError | null> {
  if (!run?.id || !run.reader) return { code: "run_not_waiting", message: "No run waits.", retryable: false };
  const { reader } = run;
  const call = {
    headers: { Accept: "text/event-stream, application/json", "Last-Event-ID": String(run.lastSeq) },
    signal: reader.signal,
  };
  for (let failures = 0; ; failures += 1) {
    const sent = service.post(`${run.path}/${path}`, body, call);
    const response = await sent.catch(() => null);
    if (response && isStream(response)) reader.resume(response);
    else reader.wake(); // also after a refusal: another page may have answered
    if (response?.ok) return null;
    const { error, isFinal } = response ? await refusal(response) : unreachable(service.url);
    const isHopeless = isFinal || failures >= (service.options.maxRetries ?? retries);
    if (isHopeless || reader.signal.aborted) return error;
    await pause((error.retry_after ?? 0) * 1000, reader.signal);
    await rest(retryDelay(failures), reader.signal);
  }
}
