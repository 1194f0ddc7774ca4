import { deliver } from "./deliver";
import type { AgentError } from "./failures";
import type { FollowedRun } from "./followed_run";
import { isStream } from "./frames";
import type { Service } from "./service";

/**
 * Sends answers to waiting runs. An answer is sent until the service accepts or refuses it, however long the service can't be
 * reached, because the same answer twice counts once. `maxRetries` limits this.
 */
export class Answers {
  private readonly service: Service;
  private readonly report: (run: FollowedRun, error: AgentError | null) => void;
  /** The pauses of the answers that are about to be sent again. */
  private readonly pauses = new Set<{ end: () => void }>();

  /** `report` is called with the error of each try after which the answer is sent again, and with null at the end. */
  constructor(service: Service, report: Answers["report"] = () => {}) {
    this.service = service;
    this.report = report;
  }

  /** Resolves with null, or with the error if the service did not accept the answer or the run is no longer read. */
  async send(run: FollowedRun | null, path: string, body: object | string): Promise<AgentError | null> {
    if (!run?.id || !run.reader) return { code: "run_not_waiting", message: "No run waits.", retryable: false };
    const { reader } = run;
    const headers = { Accept: "text/event-stream, application/json", "Last-Event-ID": String(run.lastSeq) };
    const send = async () => {
      const call = { headers, signal: reader.signal };
      const response = await this.service.post(`${run.path}/${path}`, body, call).catch(() => null);
      if (response && isStream(response)) reader.resume(response);
      else reader.wake(); // also after a refusal: another page may have answered
      return response;
    };
    const pause = { end: () => {} };
    this.pauses.add(pause);
    const error = await deliver(this.service, send, {
      signal: reader.signal,
      expose: (end) => (pause.end = end),
      onRetry: (failure) => this.report(run, failure),
    });
    this.pauses.delete(pause);
    this.report(run, null);
    return error;
  }

  /** Sends at once what waits to be sent again. */
  wake(): void {
    for (const { end } of this.pauses) end();
  }
}
