import { Conversation, Conversation as Conversation$1, ConversationOptions, LatestAnswer, RunFailed, RunState, callsIn, explain, fold, isUnfinished, latestAnswer, madeWith, prettyJson, textOf } from "agent-stream";
export type * from "agent-stream";

//#region src/react.d.ts
type Actions = Pick<Conversation$1, "stream" | "attach" | "reconnect" | "regenerate" | "stop" | "approve" | "refuse" | "sendToolResult" | "showBranch">;
/** The conversation's state, the answer of its latest run, and what the page can do. The functions never change. */
interface AgentStreamState extends RunState, LatestAnswer, Actions {}
/** Runs an agent and follows it. Reading ends when the component is removed. */
declare function useAgentStream(options?: ConversationOptions): AgentStreamState;
//#endregion
export { AgentStreamState, Conversation, RunFailed, callsIn, explain, fold, isUnfinished, latestAnswer, madeWith, prettyJson, textOf, useAgentStream };