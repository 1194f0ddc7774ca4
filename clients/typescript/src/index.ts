/* The client of an Agent Stream service. It needs no browser and no other package. */

export { AgentStream } from "./client";
export type { AttachOptions, ReadOptions, StreamOptions } from "./client";
export { Conversation } from "./conversation";
export { explain, RunFailed, type AgentError } from "./failures";
export { prettyJson } from "./exact_json";
export { fold } from "./folding";
export { partialJson } from "./partial_json";
export { eventIn, eventsIn } from "./frames";
export { IDLE, callsIn, isUnfinished, isWaiting, latestAnswer, madeWith, textOf } from "./state";
export type { AgentStatus, History, LatestAnswer, Message, Part, PartialData, PendingCall, RunState, ToolCall } from "./state";
export { isReturned, unsentIn } from "./unsent";
export type { Decision } from "./decisions";
export type { Changes, ClientTool, ConversationOptions, OnEvent, OnRestart, ServiceOptions } from "./options";
export type { Question } from "./questions";
export type { MessagesQuery, Page, RunsQuery, RunsResource, SessionsQuery, SessionsResource } from "./resources";
export { Run } from "./run";
export type { Frame } from "./frames";
export type * from "./contract";
