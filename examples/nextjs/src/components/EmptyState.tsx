"use client";

import type { Question } from "agent-stream";
import { STARTERS } from "@/lib/starters";
import { Icon } from "./icons";

/** What a new chat shows: questions to start with. */
export function EmptyState({ ask }: { ask: (question: string | Question) => void }) {
  return (
    <div className="flex flex-1 flex-col justify-center py-8">
      <h2 className="text-center text-2xl font-semibold tracking-tight sm:text-3xl">What can I do for you?</h2>
      <p className="mt-2 text-center text-soft">Ask anything. You can reload or leave: the answer continues.</p>
      <ul className="mt-8 grid gap-3 sm:grid-cols-2">
        {STARTERS.map(({ icon, title, about, question }) => (
          <li key={title}>
            <button
              type="button"
              onClick={() => ask(question)}
              className="flex h-full w-full items-start gap-3 rounded-2xl border border-line p-4 text-left transition-colors hover:border-accent hover:bg-card"
            >
              <span className="grid size-9 shrink-0 place-items-center rounded-xl bg-accent-wash text-accent">
                <Icon name={icon} className="size-5" />
              </span>
              <span>
                <span className="block font-medium">{title}</span>
                <span className="block text-sm text-soft">{about}</span>
              </span>
            </button>
          </li>
        ))}
      </ul>
    </div>
  );
}
