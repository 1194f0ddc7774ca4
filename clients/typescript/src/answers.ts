import { deliver } from "./deliver";
import type { AgentError } from "./failures";
import type { FollowedRun } from "./followed_run";
import { isStream } from "./frames";
import type { Service } from "./service";
import { QUESTION_RETRIES } from "./timing";

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
  const send = async () => {
    const response = await service.post(`${run.path}/${path}`, body, call).catch(() => null);
    if (response && isStream(response)) reader.resume(response);
    else reader.wake(); // also after a refusal: another page may have answered
    return response;
  };
  return deliver(service, send, retries, reader.signal);
}
