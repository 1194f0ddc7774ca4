/* What the service sends and accepts, by short names. The types are generated from the service's OpenAPI document.
   An optional key without a value is left out, never null. */

import type { components } from "./openapi";

type Schemas = components["schemas"];

/**
 * The JSON of `arguments`, with every digit. The package adds it, because JavaScript's numbers round whole numbers beyond
 * 2^53. Show and send this text.
 */
export interface ArgumentsText {
  arguments_text: string;
}

/** The JSON of the `data` of an answer, with every digit. The package adds it where there is `data`. */
export interface DataText {
  data_text: string;
}

type Exact<Event extends { data: object }> = Event extends { event: "tool_use" | "approval_request" }
  ? Omit<Event, "data"> & { data: Event["data"] & ArgumentsText }
  : Event extends { event: "approval_response" }
    ? Omit<Event, "data"> & { data: Event["data"] & Partial<ArgumentsText> }
    : Event extends { event: "final_output" }
      ? Omit<Event, "data"> & { data: Event["data"] & Partial<DataText> }
      : Event;

type WithTexts<Call> = Omit<Call, "approval_response"> &
  ArgumentsText & { approval_response?: EventData["approval_response"] };

/**
 * An event of a run. `seq` counts 1, 2, 3 …; `complete` is the last. Switch on `event`, and `data` has its type. `data` with
 * `arguments` also has `arguments_text`, and `final_output` with a value `data_text`.
 */
export type StreamEvent = Exact<Schemas["StreamEvent"]>;
/** The data of each event, by the event's name. */
export type EventData = { [Event in StreamEvent as Event["event"]]: Event["data"] };
export type Complete = Schemas["Complete"];
export type Usage = Schemas["Usage"];
/** A web page that an answer cites. `title` and `snippet` are texts of the page: show them as text, never as HTML. */
export type Source = Schemas["Source"];
export type ToolSource = Schemas["ToolUse"]["source"];

/** One question to the agent. */
export type AgentRequest = Schemas["AgentRequest"];
/** A request for a scripted run. `scenario` selects the script. */
export type SimulateRequest = Schemas["SimulateRequest"];
export type Scenario = Schemas["Scenario"];
/** The answer to a question, as one JSON document. */
export type AgentResponse<T = unknown> = Omit<Schemas["AgentResponse"], "tool_calls" | "data"> & {
  tool_calls: WithTexts<Schemas["ToolCall"]>[];
  /** The value of `output`, if the request has an `output_schema`. Present if `attempts` is. */
  data?: T;
} & Partial<DataText>;
export type Content = AgentRequest["input"];

/** A person's decision about a call that needs approval. */
export type ApprovalDecision = Schemas["ApprovalDecision"];
/** New totals for a budget that is spent. One that is left out stays as it is. */
export type BudgetTotals = Omit<Schemas["BudgetDecision"], "approved">;
/** A budget that has too little left for another model turn. Without a decision, the run ends at `expires_at`. */
export type PendingBudget = Schemas["PendingBudget"];
/** The result of a call that the client makes. */
export type ClientToolResult = Schemas["ClientToolResult"];
/** A description of a tool that the client runs. */
export type ClientToolInfo = Schemas["ClientTool"];

/** The metadata of a run. */
export type RunRecord = Schemas["Run"];
export type RunList = Schemas["RunList"];
export type RunStatus = Schemas["RunStatus"];
export type Session = Schemas["Session"];
export type SessionCreate = Schemas["SessionCreate"];
export type SessionUpdate = Schemas["SessionUpdate"];
export type SessionList = Schemas["SessionList"];
/** A call in a message of a session. Its `arguments` are the model's, those of its `approval_response` a person's. */
export type FunctionCall = WithTexts<Schemas["FunctionCall"]>;
/** A message of a session. A run's messages follow its question. `parent_id` is the message before it on its branch. */
export type SessionMessage = Omit<Schemas["SessionMessage"], "tool_calls"> &
  Partial<DataText> & { tool_calls?: FunctionCall[] };
export type MessageList = Omit<Schemas["MessageList"], "messages"> & { messages: SessionMessage[] };

export type ModelInfo = Schemas["ModelInfo"];
export type ModelList = Schemas["ModelList"];
export type ToolInfo = Schemas["ToolInfo"];
export type ToolList = Schemas["ToolList"];
export type McpServerInfo = Schemas["McpServerInfo"];
export type McpServerList = Schemas["McpServerList"];

export type Json = null | boolean | number | bigint | string | Json[] | { [key: string]: Json };

/** A type whose optional keys may be undefined, which counts as left out. */
export type Loose<T> = { [Key in keyof T]: T[Key] | undefined };

/** Returns the object without the keys that are undefined. */
export function given<T extends object>(loose: Loose<T>): T {
  return Object.fromEntries(Object.entries(loose).filter(([, value]) => value !== undefined)) as T;
}
