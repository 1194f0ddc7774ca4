"use client";
import { Conversation, Conversation as Conversation$1, RunFailed, callsIn, explain, fold, isUnfinished, latestAnswer, latestAnswer as latestAnswer$1, madeWith, partialJson, prettyJson, textOf } from "agent-stream";
import { useEffect, useState, useSyncExternalStore } from "react";
//#region src/react.ts
/**
* Runs an agent and follows it. Reading ends when the component is removed. `T` is the type of the answers to questions with
* an `output_schema`.
*/
function useAgentStream(options = {}) {
	const [conversation] = useState(() => new Conversation$1(options));
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
		...latestAnswer$1(state),
		...actions
	};
}
//#endregion
export { Conversation, RunFailed, callsIn, explain, fold, isUnfinished, latestAnswer, madeWith, partialJson, prettyJson, textOf, useAgentStream };
