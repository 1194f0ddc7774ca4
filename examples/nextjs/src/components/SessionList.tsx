"use client";

import type { Session } from "agent-stream";
import { type FormEvent, type KeyboardEvent, type ReactNode, useState } from "react";
import { age } from "@/lib/format";
import { urlOf } from "@/lib/useSessionId";
import type { Sessions } from "@/lib/useSessions";
import { IconButton } from "./IconButton";

interface SessionListProps {
  sessions: Sessions;
  shownId: string;
  /** Shows a session, or with null a new one. */
  open: (id: string | null) => void;
}

export function SessionList({ sessions, shownId, open }: SessionListProps) {
  const { list, hasMore, isStale, more, rename, remove } = sessions;
  const removeAndLeave = async (id: string) => {
    await remove(id);
    if (id === shownId) open(null);
  };
  return (
    <nav aria-label="Chats" className="min-h-0 flex-1 overflow-y-auto px-2 pb-4 scrollbar-quiet">
      {isStale && <Hint>The list of chats can&apos;t be loaded.</Hint>}
      {list?.length === 0 && <Hint>Your chats appear here.</Hint>}
      <ul className="space-y-0.5">
        {list?.map((session) => (
          <SessionItem
            key={session.session_id}
            session={session}
            isShown={session.session_id === shownId}
            open={open}
            rename={rename}
            remove={removeAndLeave}
          />
        ))}
      </ul>
      {hasMore && (
        <button type="button" onClick={more} className="mt-2 w-full rounded-lg p-2 text-sm text-soft hover:bg-hover">
          Show more
        </button>
      )}
    </nav>
  );
}

function Hint({ children }: { children: ReactNode }) {
  return <p className="px-3 py-2 text-sm text-soft">{children}</p>;
}

export function titleOf(session: Session | undefined): string {
  return session?.title?.trim() || (session ? "Untitled chat" : "New chat");
}

interface SessionItemProps extends Pick<SessionListProps, "open">, Pick<Sessions, "rename" | "remove"> {
  session: Session;
  isShown: boolean;
}

function SessionItem({ session, isShown, open, rename, remove }: SessionItemProps) {
  const { session_id: id, status, updated_at } = session;
  const [mode, setMode] = useState<"shown" | "renamed" | "removed">("shown");
  const title = titleOf(session);
  const end = () => setMode("shown");
  if (mode === "renamed") return <RenameForm title={title} save={(to) => rename(id, to)} end={end} />;
  if (mode === "removed") return <RemoveForm title={title} remove={() => remove(id)} end={end} />;
  return (
    <li className={`group/item flex items-center rounded-lg pr-1 hover:bg-hover ${isShown ? "bg-hover" : ""}`}>
      <a
        href={urlOf(id)}
        aria-current={isShown ? "page" : undefined}
        className="flex min-w-0 flex-1 items-center gap-2 rounded-lg px-3 py-2 text-sm"
        onClick={(click) => {
          if (click.metaKey || click.ctrlKey || click.shiftKey) return; // a new tab or window
          click.preventDefault();
          open(id);
        }}
      >
        <Dot status={status} />
        <span className="min-w-0 flex-1 truncate">{title}</span>
        <time
          dateTime={updated_at}
          className="text-xs text-soft group-focus-within/item:hidden group-hover/item:hidden pointer-coarse:hidden"
        >
          {age(updated_at)}
        </time>
      </a>
      <span className="hidden group-focus-within/item:flex group-hover/item:flex pointer-coarse:flex">
        <IconButton icon="pen" label={`Rename ${title}`} className="size-7" onClick={() => setMode("renamed")} />
        <IconButton icon="trash" label={`Delete ${title}`} className="size-7" onClick={() => setMode("removed")} />
      </span>
    </li>
  );
}

const DOTS: Partial<Record<string, [colour: string, label: string]>> = {
  queued: ["bg-accent animate-shimmer", "Queued"],
  running: ["bg-accent animate-shimmer", "Answering"],
  waiting: ["bg-wait", "Waiting for you"],
  failed: ["bg-bad", "Failed"],
};

/** The state of a session that needs attention. */
function Dot({ status }: { status: string | undefined }) {
  const [colour, label] = DOTS[status ?? ""] ?? [];
  if (!colour) return null;
  return (
    <span title={label} className={`size-2 shrink-0 rounded-full ${colour}`}>
      <span className="sr-only">{label}: </span>
    </span>
  );
}

interface EditProps {
  title: string;
  end: () => void;
}

function onEscape(end: () => void) {
  return ({ key }: KeyboardEvent) => key === "Escape" && end();
}

function RenameForm({ title, save, end }: EditProps & { save: (title: string) => Promise<void> }) {
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const to = String(new FormData(event.currentTarget).get("title")).trim();
    void save(to || title).then(end, end);
  };
  return (
    <li>
      <form onSubmit={submit} onKeyDown={onEscape(end)} className="p-1">
        <input
          name="title"
          aria-label={`New title of ${title}`}
          autoFocus
          defaultValue={title}
          maxLength={200}
          onFocus={(focus) => focus.target.select()}
          onBlur={end}
          className="w-full rounded-md border border-edge bg-page px-2 py-1 text-sm"
        />
      </form>
    </li>
  );
}

function RemoveForm({ title, remove, end }: EditProps & { remove: () => Promise<void> }) {
  return (
    <li
      role="group"
      aria-label={`Delete ${title}?`}
      onKeyDown={onEscape(end)}
      className="flex items-center gap-1 rounded-lg bg-bad-wash px-3 py-1.5 text-sm"
    >
      <span className="min-w-0 flex-1 truncate">Delete this chat?</span>
      <button
        type="button"
        autoFocus
        className="rounded-md px-2 py-0.5 font-medium text-bad hover:bg-hover"
        onClick={() => void remove().catch(end)}
      >
        Delete
      </button>
      <button type="button" className="rounded-md px-2 py-0.5 hover:bg-hover" onClick={end}>
        Keep
      </button>
    </li>
  );
}
