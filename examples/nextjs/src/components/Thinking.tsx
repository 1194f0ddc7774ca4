"use client";

import { duration } from "@/lib/format";
import { Icon } from "./icons";

/** A shorter time is not worth a word. */
const SHORTEST_MS = 1_000;

interface ThinkingProps {
  text: string;
  isGrowing: boolean;
  /** How long it took, in ms. Undefined if this page has not read it to its end. */
  took: number | undefined;
}

/** The model's reasoning, folded. */
export function Thinking({ text, isGrowing, took }: ThinkingProps) {
  const label = took === undefined || took < SHORTEST_MS ? "Thought" : `Thought for ${duration(took)}`;
  return (
    <details className="group my-2 first:mt-0">
      <summary className="inline-flex items-center gap-2 rounded-md py-1 pr-2 text-sm text-soft hover:text-ink">
        <Icon name="thought" />
        <span className={isGrowing ? "animate-shimmer" : ""}>{isGrowing ? "Thinking…" : label}</span>
        <Icon name="chevron" className="size-3.5 transition-transform group-open:rotate-90" />
      </summary>
      <div className="mt-1 ml-2 border-l-2 border-line pl-4 text-sm leading-6 whitespace-pre-wrap text-soft wrap-anywhere">
        {text}
      </div>
    </details>
  );
}
