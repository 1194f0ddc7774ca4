import type { Session } from "agent-stream";
import { useCallback, useEffect, useState } from "react";
import { agent } from "./agent";

const REFRESH_MS = 15_000;

/** The list of sessions, which is kept current while the page is visible. */
export interface Sessions {
  /** Null until it is loaded. */
  list: Session[] | null;
  /** Whether the service has older ones. */
  hasMore: boolean;
  /** Whether the last attempt to load it failed. */
  isStale: boolean;
  refresh: () => Promise<void>;
  more: () => void;
  rename: (id: string, title: string) => Promise<void>;
  remove: (id: string) => Promise<void>;
}

export function useSessions(): Sessions {
  const [limit, setLimit] = useState(30);
  const [{ list, hasMore }, setLoaded] = useState<Pick<Sessions, "list" | "hasMore">>({ list: null, hasMore: false });
  const [isStale, setStale] = useState(false);

  const refresh = useCallback(async () => {
    try {
      const { sessions, next_cursor } = await agent.sessions.list({ limit });
      setLoaded({ list: sessions, hasMore: next_cursor !== undefined });
      setStale(false);
    } catch {
      setStale(true);
    }
  }, [limit]);

  useEffect(() => {
    const look = () => void (document.visibilityState === "visible" && refresh());
    const first = setTimeout(look);
    const timer = setInterval(look, REFRESH_MS);
    document.addEventListener("visibilitychange", look);
    return () => {
      clearTimeout(first);
      clearInterval(timer);
      document.removeEventListener("visibilitychange", look);
    };
  }, [refresh]);

  const rename = async (id: string, title: string) => {
    await agent.sessions.update(id, { title });
    await refresh();
  };
  const remove = async (id: string) => {
    await agent.sessions.delete(id);
    await refresh();
  };
  const more = () => setLimit((now) => Math.min(now + 50, 200));
  return { list, hasMore: hasMore && limit < 200, isStale, refresh, more, rename, remove };
}
