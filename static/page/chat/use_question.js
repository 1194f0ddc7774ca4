/** A question that is being written: its text, which a reload keeps, and its attachments. */

import { useEffect, useState } from "preact/hooks";

import { ask } from "../conversation.js";
import { contentOf } from "./attachments.js";
import { draftOf, keepDraft } from "./drafts.js";
import { useAttachments } from "./use_attachments.js";

/** `onAsk` is called when the question is sent. If the service refuses it, its text and attachments come back. */
export function useQuestion(session, onAsk) {
  const [text, setText] = useState(() => draftOf(session));
  const files = useAttachments();
  const { attachments, clear, restore } = files;
  useEffect(() => keepDraft(session, text), [session, text]);
  const isEmpty = text.trim() === "" && attachments.length === 0;
  const send = async () => {
    if (isEmpty) return;
    setText("");
    clear();
    onAsk();
    let isAccepted = false;
    await ask({ input: contentOf(text, attachments) }, () => (isAccepted = true));
    if (isAccepted) return;
    setText((written) => written || text);
    restore(attachments);
  };
  return { ...files, text, setText, isEmpty, send };
}
