"use client";
import { Conversation, Conversation as Conversation$1, RunFailed, callsIn, explain, fold, isReturned, isReturned as isReturned$1, isUnfinished, isWaiting, latestAnswer, latestAnswer as latestAnswer$1, madeWith, partialJson, prettyJson, textOf, unsentIn, unsentIn as unsentIn$1 } from "agent-stream";
import { useEffect, useRef, useState, useSyncExternalStore } from "react";
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
	const { stream, attach, reconnect, retry, regenerate, stop, showBranch } = conversation;
	const { approve, refuse, raiseBudget, refuseBudget, sendToolResult } = conversation;
	const actions = {
		stream,
		attach,
		reconnect,
		retry,
		regenerate,
		stop,
		showBranch
	};
	const answers = {
		approve,
		refuse,
		raiseBudget,
		refuseBudget,
		sendToolResult
	};
	return {
		...state,
		...latestAnswer$1(state),
		...actions,
		...answers
	};
}
/** Calls `giveBack` with a question of the conversation that has not arrived and never will: it was stopped or refused. */
function useReturned(messages, giveBack) {
	const latest = useRef(null);
	useEffect(() => {
		const sent = latest.current;
		latest.current = unsentIn$1(messages);
		if (isReturned$1(sent, messages)) giveBack(sent);
	}, [messages]);
}
//#endregion
export { Conversation, RunFailed, callsIn, explain, fold, isReturned, isUnfinished, isWaiting, latestAnswer, madeWith, partialJson, prettyJson, textOf, unsentIn, useAgentStream, useReturned };
