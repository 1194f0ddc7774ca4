/* The question that has been sent, until the service has accepted it. The conversation sends it again after an outage. */

import type { Message } from "./state";

/** Returns the question that has not arrived yet, or null. */
export function unsentIn(messages: Message[]): Message | null {
  return messages.find(isUnsent) ?? null;
}

function isUnsent({ role, run_id, status }: Message): boolean {
  return role === "user" && run_id === "" && status === "queued";
}

/** Whether a question that had not arrived is neither sent again nor in the conversation: it was refused or stopped. */
export function isReturned(sent: Message | null, messages: Message[]): sent is Message {
  if (sent === null) return false;
  const isSame = ({ message_id, content }: Message) =>
    message_id === sent.message_id || JSON.stringify(content) === JSON.stringify(sent.content);
  return !messages.some((message) => isSame(message) && (message.run_id !== "" || isUnsent(message)));
}
