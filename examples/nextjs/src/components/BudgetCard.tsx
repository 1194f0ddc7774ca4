"use client";

import type { AgentError, BudgetTotals, PendingBudget } from "agent-stream";
import { type FormEvent, useId } from "react";
import { useAnswer } from "@/lib/useAnswer";
import { Icon } from "./icons";

interface BudgetCardProps {
  budget: PendingBudget;
  raise: (totals: BudgetTotals) => Promise<AgentError | null>;
  refuse: () => Promise<AgentError | null>;
}

/** Asks a person to raise a budget that is spent, or to end the run. */
export function BudgetCard({ budget, raise, refuse }: BudgetCardProps) {
  const { spent_tokens, spent_cost_usd = 0, max_total_tokens, max_cost_usd, expires_at } = budget;
  const { send, isSending, mistake } = useAnswer();
  const title = useId();

  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const entries = [...new FormData(event.currentTarget)].map(([name, value]) => [name, Number(value)] as const);
    void send(() => raise(Object.fromEntries(entries)));
  };

  return (
    <form
      aria-labelledby={title}
      onSubmit={submit}
      className="space-y-3 rounded-2xl border border-wait/40 bg-wait-wash p-4 text-sm shadow-sm"
    >
      <h2 id={title} className="flex items-center gap-2 font-medium">
        <Icon name="person" className="size-4 text-wait" />
        The budget is spent. Raise it to continue?
      </h2>
      {max_total_tokens !== undefined && (
        <Total name="max_total_tokens" spent={`${spent_tokens} of ${max_total_tokens} tokens`} total={max_total_tokens} step="1" />
      )}
      {max_cost_usd !== undefined && (
        <Total name="max_cost_usd" spent={`$${spent_cost_usd} of $${max_cost_usd}`} total={max_cost_usd} step="any" />
      )}
      {mistake && (
        <p role="alert" className="text-bad">
          {mistake}
        </p>
      )}
      <div className="flex flex-wrap items-center gap-2">
        <button
          type="submit"
          disabled={isSending}
          className="rounded-lg bg-accent px-4 py-1.5 font-medium text-on-accent hover:bg-accent-strong disabled:opacity-50"
        >
          Raise the budget
        </button>
        <button
          type="button"
          disabled={isSending}
          onClick={() => void send(refuse)}
          className="rounded-lg border border-edge bg-page px-4 py-1.5 font-medium hover:bg-hover disabled:opacity-50"
        >
          End the run
        </button>
        <span className="text-xs text-soft">Ends automatically at {new Date(expires_at).toLocaleString()}.</span>
      </div>
    </form>
  );
}

function Total({ name, spent, total, step }: { name: keyof BudgetTotals; spent: string; total: number; step: string }) {
  return (
    <label className="flex flex-wrap items-center gap-2">
      {spent} spent. New total:
      <input
        name={name}
        type="number"
        min={0}
        step={step}
        required
        defaultValue={2 * total}
        className="w-32 rounded-lg border border-edge bg-page px-2.5 py-1"
      />
    </label>
  );
}
