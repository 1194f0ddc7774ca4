"use client";

import { useCallback } from "react";
import { useDrawer } from "@/lib/useDrawer";
import { useSessionId } from "@/lib/useSessionId";
import { useSessions } from "@/lib/useSessions";
import { Chat } from "./Chat";
import { Icon } from "./icons";
import { IconButton } from "./IconButton";
import { SessionList, titleOf } from "./SessionList";

/** The database's record of a session follows its events by a moment. */
const SETTLED_MS = 400;

/** The page: chats at the side, and the one that is shown. Below 768 px, the side is a drawer. */
export function Agent() {
  const { id, open, keep } = useSessionId();
  const sessions = useSessions();
  const { drawer, opener, isDrawerOpen, openDrawer, closeDrawer } = useDrawer();
  const { refresh } = sessions;
  const onChange = useCallback(() => {
    const timer = setTimeout(() => void refresh(), SETTLED_MS);
    return () => clearTimeout(timer);
  }, [refresh]);
  const show = (session: string | null) => {
    closeDrawer();
    open(session);
  };

  return (
    <div className="flex h-dvh overflow-hidden">
      {isDrawerOpen && (
        <div aria-hidden className="fixed inset-0 z-10 bg-black/40 md:hidden" onClick={closeDrawer} />
      )}
      <aside
        ref={drawer}
        tabIndex={-1}
        aria-label="Your chats"
        onKeyDown={({ key }) => key === "Escape" && closeDrawer()}
        className={`flex w-72 shrink-0 flex-col border-r border-line bg-side outline-none transition-[translate] max-md:fixed max-md:inset-y-0 max-md:z-20 max-md:shadow-2xl ${isDrawerOpen ? "" : "max-md:invisible max-md:-translate-x-full"}`}
      >
        <div className="flex h-14 items-center justify-between pr-2 pl-4">
          <span className="flex items-center gap-2.5 font-semibold tracking-tight">
            <span className="grid size-7 place-items-center rounded-lg bg-accent text-on-accent">
              <Icon name="chat" />
            </span>
            Agent
          </span>
          <IconButton icon="close" label="Close the list" className="md:hidden" onClick={closeDrawer} />
        </div>
        <button
          type="button"
          onClick={() => show(null)}
          className="mx-3 mb-3 flex items-center gap-2 rounded-xl border border-line bg-page px-3 py-2 text-sm font-medium hover:border-accent"
        >
          <Icon name="plus" />
          New chat
        </button>
        <SessionList sessions={sessions} shownId={id} open={show} />
      </aside>
      <main className="flex min-w-0 flex-1 flex-col">
        <header className="flex h-14 shrink-0 items-center gap-2 border-b border-line px-3 md:px-6">
          <IconButton ref={opener} icon="menu" label="Show the chats" className="md:hidden" onClick={openDrawer} />
          <h1 className="truncate text-sm font-medium">
            {titleOf(sessions.list?.find(({ session_id }) => session_id === id))}
          </h1>
        </header>
        <Chat key={id} sessionId={id} onAsk={keep} onChange={onChange} />
      </main>
    </div>
  );
}
