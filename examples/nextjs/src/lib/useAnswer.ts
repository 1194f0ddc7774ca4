import { type AgentError, explain } from "agent-stream";
import { useState } from "react";

/** Sends an answer that a run waits for, and keeps the mistake if the service refuses it. */
export function useAnswer() {
  const [isSending, setSending] = useState(false);
  const [mistake, setMistake] = useState<string | null>(null);

  const send = async (answer: () => Promise<AgentError | null>) => {
    setSending(true);
    const error = await answer();
    setMistake(error && explain(error));
    setSending(false);
  };
  return { send, isSending, mistake };
}
