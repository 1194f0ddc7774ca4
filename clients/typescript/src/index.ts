/* The client of an Agent Stream service. It needs no browser and no other package. */

export { AgentStream } from "./client";
export type { AttachOptions, ReadOptions, StreamOptions } from "./client";
export { Conversation } from "./conversation";
export { explain, RunFailed, type AgentError } from "./failures";
export { fold } from "./folding";
export { IDLE, callsIn, isUnfinished, latestAnswer, textOf } from "./state";
export type { AgentStatus, LatestAnswer, Message, Part, PendingCall, RunState, ToolCall } from "./state";
export type { Changes, ClientTool, ConversationOptions, OnEvent, OnRestart, ServiceOptions } from "./options";
export type { Question } from "./questions";
export type { MessagesQuery, Page, RunsQuery, RunsResource, SessionsResource } from "./resources";
export { Run } from "./run";
export type { Frame } from "./frames";
export type * from "./contract";
