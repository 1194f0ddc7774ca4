/** A question that is being written: its text, which a reload keeps, and its attachments. */

import { isReturned, unsentIn } from "agent-stream";
import { useEffect, useRef, useState } from "preact/hooks";

import { ask, useConversationPart } from "../conversation.js";
import { contentOf, partsOf } from "./attachments.js";
import { draftOf, keepDraft } from "./drafts.js";
import { useAttachments } from "./use_attachments.js";

/** `onAsk` is called when the question is sent. If it is refused or stopped, its text and attachments come back. */
export function useQuestion(session, onAsk) {
  const [text, setText] = useState(() => draftOf(session));
  const files = useAttachments();
  const { attachments, clear, restore } = files;
  useEffect(() => keepDraft(session, text), [session, text]);
  useReturned((returned) => {
    setText((written) => written || returned.text);
    restore(returned.attachments);
  });
  const isEmpty = text.trim() === "" && attachments.length === 0;
  const send = () => {
    if (isEmpty) return;
    setText("");
    clear();
    onAsk();
    void ask({ input: contentOf(text, attachments) });
  };
  return { ...files, text, setText, isEmpty, send };
}

/** Calls `giveBack` with a question of the conversation that has not arrived, and never will. */
function useReturned(giveBack) {
  const messages = useConversationPart((state) => state.messages);
  const latest = useRef(null);
  useEffect(() => {
    const sent = latest.current;
    latest.current = unsentIn(messages);
    if (isReturned(sent, messages)) giveBack(partsOf(sent.content));
  }, [messages]);
}
