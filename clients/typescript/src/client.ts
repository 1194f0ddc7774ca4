import { Api } from "./api";
import type * as contract from "./contract";
import type { AgentRequest, AgentResponse, RunRecord, SimulateRequest } from "./contract";
import { approval, type Decision } from "./decisions";
import { newKey } from "./environment";
import { FollowedRun } from "./followed_run";
import type { Frame } from "./frames";
import type { ClientTool, ServiceOptions } from "./options";
import { withTools } from "./questions";
import { asRequest, cancelRun, runPath, RunsResource, SessionsResource } from "./resources";
import { Run } from "./run";
import { Service } from "./service";

export interface ReadOptions {
  /** Ends the reading. The service then treats the run as one without a reader (`on_disconnect`). */
  signal?: AbortSignal | undefined;
  /** Called once with each event, in order. For inspectors. */
  onFrame?: ((frame: Frame) => void) | undefined;
  /** Tools that this program runs, by name. */
  clientTools?: Record<string, ClientTool> | undefined;
}

export interface AttachOptions extends ReadOptions {
  /** The last event that is already known. */
  after?: number | undefined;
}

export interface StreamOptions extends ReadOptions {
  /** The same key and request within 24 hours are the same run. By default, each request has a new one. */
  idempotencyKey?: string | undefined;
}

/** The client of a service. It has no state: each run is an object of its own. Its promises reject with a RunFailed. */
export class AgentStream {
  readonly runs: RunsResource;
  readonly sessions: SessionsResource;
  private readonly options: ServiceOptions;
  private readonly api: Api;

  constructor(options: ServiceOptions = {}) {
    this.options = options;
    this.api = new Api(new Service(options));
    this.runs = new RunsResource(this.api);
    this.sessions = new SessionsResource(this.api);
  }

  /** Asks the agent. The request is sent at once. */
  stream(input: string | AgentRequest, options: StreamOptions = {}): Run {
    return this.start("/api/agent/stream", asRequest(input), options);
  }

  /** Plays a script in place of a model's answer, for tests and demonstrations. */
  simulate(request: SimulateRequest, options: StreamOptions = {}): Run {
    return this.start("/api/agent/stream/simulate", request, options);
  }

  /** Reads a run from the event after `after` on, and makes the calls of `clientTools` that it reads. */
  attach(runId: string, { after = 0, signal, ...options }: AttachOptions = {}): Run {
    const run = new FollowedRun({ id: runId, isOurs: true });
    run.lastSeq = after;
    return new Run(new Service({ ...this.options, ...options }), run, signal);
  }

  /** Asks the agent, and resolves with the whole answer, or with the calls that the run waits for. */
  execute<T = unknown>(
    input: string | AgentRequest,
    { signal, idempotencyKey = newKey() }: Pick<StreamOptions, "signal" | "idempotencyKey"> = {},
  ): Promise<AgentResponse<T>> {
    const headers = { "Idempotency-Key": idempotencyKey };
    return this.api.json("POST", "/api/agent/execute", {
      body: asRequest(input),
      headers,
      signal,
      isLong: true,
      hasCalls: true,
    });
  }

  /** Cancels a run. Resolves when the service has accepted that. */
  cancel(runId: string): Promise<RunRecord> {
    return cancelRun(this.api, runId);
  }

  /** Decides on a call that needs approval. The run resumes when each call that it waits for has its answer. */
  async approve(runId: string, callId: string, decision: Decision = { approved: true }): Promise<RunRecord> {
    const path = `${runPath(runId)}/approvals/${encodeURIComponent(callId)}`;
    return this.api.json("POST", path, { body: decision.approved ? approval(decision) : decision });
  }

  /** Sends the results of calls of the client's own tools. */
  toolResults(runId: string, results: contract.ClientToolResult[]): Promise<RunRecord> {
    return this.api.json("POST", `${runPath(runId)}/tool-results`, { body: { results } });
  }

  models(): Promise<contract.ModelList> {
    return this.api.json("GET", "/api/agent/models");
  }

  tools(): Promise<contract.ToolList> {
    return this.api.json("GET", "/api/agent/tools");
  }

  mcpServers(): Promise<contract.McpServerList> {
    return this.api.json("GET", "/api/agent/mcp-servers");
  }

  private start(route: string, request: AgentRequest | SimulateRequest, options: StreamOptions): Run {
    const { signal, idempotencyKey, ...others } = options;
    const asked = { ...withTools(options.clientTools), ...request };
    const run = new FollowedRun({ asked, route, isOurs: true, key: idempotencyKey });
    return new Run(new Service({ ...this.options, ...others }), run, signal);
  }
}
