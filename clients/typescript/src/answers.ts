import { deliver } from "./deliver";
import { jsonOf } from "./exact_json";
import type { AgentError } from "./failures";
import type { FollowedRun } from "./followed_run";
import { isStream } from "./frames";
import { keep, kept } from "./kept";
import type { Service } from "./service";

/** An answer on its way to a run: where it is sent, and its JSON. */
interface Sent {
  path: string;
  json: string;
}

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
    const send = async () => {
      const slot = await reader.slotForAnswer();
      const accepted = slot ? "text/event-stream, application/json" : "application/json";
      const headers = { Accept: accepted, "Last-Event-ID": String(run.lastSeq) };
      const call = { headers, signal: reader.signal };
      const response = await this.service.post(`${run.path}/${path}`, body, call).catch(() => null);
      if (response && isStream(response)) reader.resume({ stream: response, slot });
      else slot?.release();
      reader.wake(); // also after a refusal: another page may have answered
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

  /** Sends an answer of a person. With `storageKey`, a page that is reloaded before it has arrived sends it again. */
  async sendKept(run: FollowedRun | null, path: string, body: object | string): Promise<AgentError | null> {
    if (!run) return this.send(run, path, body);
    const json = jsonOf(body);
    const signal = run.reader?.signal;
    const others = () => this.keptFor(run).filter((sent) => sent.path !== path || sent.json !== json);
    this.keepFor(run, [...others(), { path, json }]);
    const error = await this.send(run, path, json);
    if (!signal?.aborted) this.keepFor(run, others());
    return error;
  }

  /** Sends again what had not arrived when the page was left. */
  resend(run: FollowedRun): void {
    for (const { path, json } of this.keptFor(run)) void this.sendKept(run, path, json);
  }

  /** Removes what is kept for a run that has ended. */
  forget(run: FollowedRun): void {
    this.keepFor(run, []);
  }

  private keptFor(run: FollowedRun): Sent[] {
    return JSON.parse(kept(this.service.options, `${run.id}/answers`) ?? "[]") as Sent[];
  }

  private keepFor(run: FollowedRun, answers: Sent[]): void {
    keep(this.service.options, `${run.id}/answers`, answers.length > 0 ? JSON.stringify(answers) : null);
  }

  /** Sends at once what waits to be sent again. */
  wake(): void {
    for (const { end } of this.pauses) end();
  }
}
