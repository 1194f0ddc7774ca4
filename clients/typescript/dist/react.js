"use client";
import { Conversation, latestAnswer } from "agent-stream";
import { useEffect, useState, useSyncExternalStore } from "react";
export * from "agent-stream";
//#region src/react.ts
/** Runs an agent and follows it. Reading ends when the component is removed. */
function useAgentStream(options = {}) {
	const [conversation] = useState(() => new Conversation(options));
	const state = useSyncExternalStore(conversation.subscribe, conversation.get, conversation.get);
	useEffect(() => conversation.configure(options));
	useEffect(() => conversation.mount(), [
		conversation,
		options.baseUrl,
		options.storageKey,
		options.sessionId
	]);
	const { stream, attach, reconnect, regenerate, stop, approve, refuse, sendToolResult, showBranch } = conversation;
	const actions = {
		stream,
		attach,
		reconnect,
		regenerate,
		stop,
		approve,
		refuse,
		sendToolResult,
		showBranch
	};
	return {
		...state,
		...latestAnswer(state),
		...actions
	};
}
//#endregion
export { useAgentStream };
