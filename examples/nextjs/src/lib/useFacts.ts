import type { Frame, Message, Usage } from "agent-stream";
import { useCallback, useEffect, useRef, useState } from "react";
import { agent } from "./agent";

/** The facts about a run that its messages do not have. */
export interface Facts {
  /** The time that each thinking part took, in ms, as far as this page has read it. */
  thoughts: number[];
  usage?: Usage | undefined;
  durationMs?: number | undefined;
}

type Stored = Record<string, Pick<Facts, "usage" | "durationMs">>;

/** The events after which a thinking part is complete. */
const AFTER_THINKING = ["partial_output", "final_output", "tool_use_delta", "tool_use", "complete"];
/** A run that took longer waited for a person. The time that it worked isn't stored. */
const LONGEST_MS = 600_000;

/** Returns the facts about each run, and the listener for its events that collects them. */
export function useFacts(sessionId: string) {
  const { thoughts, onFrame } = useThoughts();
  const [stored, setStored] = useState<Stored>({});
  const load = useCallback(() => void storedFacts(sessionId).then(setStored, () => {}), [sessionId]);

  const factsOf = ({ run_id, complete }: Message): Facts => ({
    ...stored[run_id],
    ...(complete && { usage: complete.usage, durationMs: complete.duration_ms }),
    thoughts: thoughts[run_id] ?? [],
  });
  return { factsOf, onFrame, load };
}

/** Loads the facts about runs that this page has not read, once it shows an answer of one. */
export function useStoredFacts(messages: Message[], load: () => void): void {
  const isMissing = messages.some(({ role, status, complete }) => role === "assistant" && status === "succeeded" && !complete);
  useEffect(() => {
    if (isMissing) load();
  }, [isMissing, load]);
}

function useThoughts() {
  const [thoughts, setThoughts] = useState<Record<string, number[]>>({});
  const startedAt = useRef<number | null>(null);
  const counts = useRef({ all: 0, earlier: 0 }); // of the run's thoughts, and of those before its present step
  const onFrame = useCallback(({ event }: Frame) => {
    const { run_id, timestamp } = event;
    if (event.seq === 1) setThoughts((before) => ({ ...before, [run_id]: [] }));
    if (event.seq === 1) counts.current = { all: 0, earlier: 0 };
    if (event.event === "step_started") counts.current.earlier = counts.current.all;
    if (event.event === "step_restarted") {
      const { earlier } = counts.current;
      counts.current.all = earlier;
      startedAt.current = null;
      setThoughts((before) => ({ ...before, [run_id]: (before[run_id] ?? []).slice(0, earlier) }));
    }
    if (event.event === "thinking") startedAt.current ??= Date.parse(timestamp);
    if (startedAt.current === null || !AFTER_THINKING.includes(event.event)) return;
    const took = Date.parse(timestamp) - startedAt.current;
    startedAt.current = null;
    counts.current.all += 1;
    setThoughts((before) => ({ ...before, [run_id]: [...(before[run_id] ?? []), took] }));
  }, []);
  return { thoughts, onFrame };
}

async function storedFacts(sessionId: string): Promise<Stored> {
  const { runs } = await agent.sessions.runs(sessionId, { limit: 100 });
  return Object.fromEntries(
    runs.map(({ run_id, usage, created_at, finished_at }) => {
      const took = Date.parse(finished_at ?? "") - Date.parse(created_at);
      return [run_id, { usage, durationMs: took < LONGEST_MS ? took : undefined }];
    }),
  );
}
