import { Conversation, Conversation as Conversation$1, ConversationOptions, LatestAnswer, Message, RunFailed, RunState, callsIn, explain, fold, isReturned, isUnfinished, isWaiting, latestAnswer, madeWith, partialJson, prettyJson, textOf, unsentIn } from "agent-stream";
export type * from "agent-stream";

//#region src/react.d.ts
type Actions = Pick<Conversation$1, "stream" | "attach" | "reconnect" | "retry" | "regenerate" | "stop" | "approve" | "refuse" | "raiseBudget" | "refuseBudget" | "sendToolResult" | "showBranch">;
/** The conversation's state, the answer of its latest run, and what the page can do. The functions never change. */
interface AgentStreamState<T = unknown> extends RunState, LatestAnswer<T>, Actions {}
/**
* Runs an agent and follows it. Reading ends when the component is removed. `T` is the type of the answers to questions with
* an `output_schema`.
*/
declare function useAgentStream<T = unknown>(options?: ConversationOptions): AgentStreamState<T>;
/** Calls `giveBack` with a question of the conversation that has not arrived and never will: it was stopped or refused. */
declare function useReturned(messages: Message[], giveBack: (question: Message) => void): void;
//#endregion
export { AgentStreamState, Conversation, RunFailed, callsIn, explain, fold, isReturned, isUnfinished, isWaiting, latestAnswer, madeWith, partialJson, prettyJson, textOf, unsentIn, useAgentStream, useReturned };