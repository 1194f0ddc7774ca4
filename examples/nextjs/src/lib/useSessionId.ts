import { useSearchParams } from "next/navigation";
import { useState } from "react";

/** The session that is shown. It is in the URL as soon as it has a question. */
export interface ShownSession {
  id: string;
  /** Shows a session, or with null a new one. */
  open: (id: string | null) => void;
  /** Writes the session into the URL. */
  keep: () => void;
}

export function useSessionId(): ShownSession {
  const inUrl = useSearchParams().get("session");
  const [draft, setDraft] = useState(newSessionId);
  const open = (id: string | null) => {
    if (id === null) setDraft(newSessionId());
    window.history.pushState(null, "", urlOf(id));
  };
  const keep = () => {
    if (inUrl === null) window.history.replaceState(null, "", urlOf(draft));
  };
  return { id: inUrl ?? draft, open, keep };
}

export function urlOf(id: string | null): string {
  return id === null ? "/agent" : `/agent?session=${encodeURIComponent(id)}`;
}

/** A name that nobody can guess. `crypto.randomUUID` exists only on HTTPS and localhost. */
function newSessionId(): string {
  const words = Array.from(crypto.getRandomValues(new Uint32Array(3)), (word) => word.toString(36));
  return `chat-${words.join("")}`;
}
