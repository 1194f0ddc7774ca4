import { Conversation, ConversationOptions, LatestAnswer, RunState } from "agent-stream";
export * from "agent-stream";

//#region src/react.d.ts
type Actions = Pick<Conversation, "stream" | "attach" | "reconnect" | "regenerate" | "stop" | "approve" | "refuse" | "sendToolResult" | "showBranch">;
/** The conversation's state, the answer of its latest run, and what the page can do. The functions never change. */
interface AgentStreamState extends RunState, LatestAnswer, Actions {}
/** Runs an agent and follows it. Reading ends when the component is removed. */
declare function useAgentStream(options?: ConversationOptions): AgentStreamState;
//#endregion
export { AgentStreamState, useAgentStream };