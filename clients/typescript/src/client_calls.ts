import type { Json } from "./contract";
import { parseWithBigints, stringify } from "./exact_json";
import type { AgentError } from "./failures";
import type { FollowedRun } from "./followed_run";
import { keep, kept } from "./kept";
import type { ClientTool } from "./options";
import type { Service } from "./service";
import type { PendingCall } from "./state";

/** The outcome of a call of a page's tool. */
export interface Outcome {
  content: Json;
  is_error: boolean;
}

/** The calls that this page has made, by run and call, for all components. */
const made = new Map<string, Promise<Outcome>>();

const failed = (content: string): Outcome => ({ content, is_error: true });

/** Returns an outcome, whose JSON is given. */
function read(json: string): Outcome {
  const { content, is_error } = parseWithBigints(json) as Partial<Outcome>;
  if (content === undefined || is_error === undefined) throw new TypeError("The result can't be written as JSON.");
  return { content, is_error };
}

async function outcomeOf(tool: ClientTool, json: string): Promise<Outcome> {
  try {
    const args = parseWithBigints(json) as Record<string, unknown>;
    const outcome = { content: (await tool.run(args)) ?? null, is_error: false };
    return read(stringify(outcome)); // fails if it can't be written as JSON
  } catch (cause) {
    return failed(cause instanceof Error ? cause.message : String(cause));
  }
}

/** Makes each call of the page's tools once, also if the page is reloaded meanwhile. */
export class ClientCalls {
  private readonly service: Service;
  private readonly send: (run: FollowedRun, callId: string, outcome: Outcome) => Promise<AgentError | null>;

  constructor(service: Service, send: ClientCalls["send"]) {
    this.service = service;
    this.send = send;
  }

  /** Makes the pending calls whose arguments were read. */
  make(run: FollowedRun, pending: PendingCall[]): void {
    const tools = this.service.options.clientTools ?? {};
    for (const { kind, name, tool_call_id } of pending) {
      const tool = Object.hasOwn(tools, name) ? tools[name] : undefined;
      const args = run.calls.get(tool_call_id);
      if (tool && args && kind === "client" && run.isOurs) void this.makeCall(run, tool_call_id, tool, args);
    }
  }

  forget(run: FollowedRun): void {
    for (const callId of run.calls.keys()) {
      const call = `${run.id}/${callId}`;
      made.delete(call);
      keep(this.service.options, call, null);
    }
  }

  private async makeCall(run: FollowedRun, callId: string, tool: ClientTool, args: string): Promise<void> {
    if (!(await run.isGranted)) return;
    const key = `${run.id}/${callId}`;
    const outcome = made.get(key) ?? this.makeOnce(key, tool, args);
    made.set(key, outcome);
    const error = await this.send(run, callId, await outcome);
    if (error && !error.retryable) await this.send(run, callId, failed(`The result can't be sent: ${error.message}`));
  }

  /** Makes a call, unless the page has made it before a reload. */
  private async makeOnce(call: string, tool: ClientTool, args: string): Promise<Outcome> {
    const { options } = this.service;
    const note = (outcome: Outcome) => keep(options, call, stringify(outcome));
    const before = kept(options, call);
    if (before) return read(before);
    note(failed("The page was reloaded while this call was being made: its effect is unknown."));
    const outcome = await outcomeOf(tool, args);
    if (kept(options, call)) note(outcome); // else the run has ended meanwhile
    return outcome;
  }
}
