import type { SessionMessage } from "./contract";

/** The runs of a session. They are a tree, because a question can be edited or asked again. */
export class SessionTree {
  private readonly messages = new Map<string, SessionMessage[]>();
  /** The runs that follow a run, the first one first. Those without a parent follow "". */
  private readonly children = new Map<string, string[]>();
  private readonly parents = new Map<string, string>();

  /** `messages` are those of all branches, in the order in which they were stored. */
  constructor(messages: SessionMessage[]) {
    const runOf = new Map(messages.map(({ message_id, run_id }) => [message_id, run_id]));
    for (const message of messages) {
      const { run_id, parent_id } = message;
      if (!this.messages.has(run_id)) this.add(run_id, runOf.get(parent_id ?? "") ?? "");
      this.messages.get(run_id)?.push(message);
    }
  }

  /** The messages of a run, or none if the session doesn't have it. */
  of(runId: string): SessionMessage[] {
    return this.messages.get(runId) ?? [];
  }

  has(runId: string): boolean {
    return this.messages.has(runId);
  }

  /** The run that was asked last, or undefined in an empty session. */
  latest(): string | undefined {
    return [...this.messages.keys()].at(-1);
  }

  /** The runs of a branch: those before this run, the run, and the latest ones after it. */
  branch(runId: string): string[] {
    const runs = [];
    for (let run = runId; this.has(run); run = this.parents.get(run) ?? "") runs.unshift(run);
    for (let next = this.lastChild(runId); next !== undefined; next = this.lastChild(next)) runs.push(next);
    return runs;
  }

  /** The runs in the same place as this one, which is among them: other versions of its question, or of its answer. */
  versions(runId: string): string[] {
    return this.children.get(this.parents.get(runId) ?? "") ?? [];
  }

  private add(runId: string, parent: string): void {
    this.messages.set(runId, []);
    this.parents.set(runId, parent);
    this.children.set(parent, [...(this.children.get(parent) ?? []), runId]);
  }

  private lastChild(runId: string): string | undefined {
    return this.children.get(runId)?.at(-1);
  }
}
