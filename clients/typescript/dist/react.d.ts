import { Conversation, Conversation as Conversation$1, ConversationOptions, LatestAnswer, RunFailed, RunState, callsIn, explain, fold, isUnfinished, latestAnswer, madeWith, partialJson, prettyJson, textOf } from "agent-stream";
export type * from "agent-stream";

//#region src/react.d.ts
type Actions = Pick<Conversation$1, "stream" | "attach" | "reconnect" | "regenerate" | "stop" | "approve" | "refuse" | "sendToolResult" | "showBranch">;
/** The conversation's state, the answer of its latest run, and what the page can do. The functions never change. */
interface AgentStreamState<T = unknown> extends RunState, LatestAnswer<T>, Actions {}
/**
* Runs an agent and follows it. Reading ends when the component is removed. `T` is the type of the answers to questions with
* an `output_schema`.
*/
declare function useAgentStream<T = unknown>(options?: ConversationOptions): AgentStreamState<T>;
//#endregion
export { AgentStreamState, Conversation, RunFailed, callsIn, explain, fold, isUnfinished, latestAnswer, madeWith, partialJson, prettyJson, textOf, useAgentStream };