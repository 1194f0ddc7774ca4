import { prettyJson, type Usage } from "agent-stream";

/** A time in words: 120 ms, 1.4 s, 12 s, 3 min. */
export function duration(ms: number): string {
  if (ms < 950) return `${Math.round(ms)} ms`;
  if (ms < 9_950) return `${(ms / 1000).toFixed(1)} s`;
  return ms < 90_000 ? `${Math.round(ms / 1000)} s` : `${Math.round(ms / 60_000)} min`;
}

/** The cost of a run in short: $0.0021, "price unknown" if only its tokens are known, or undefined if they are not. */
export function cost({ cost_usd, total_tokens }: Usage): string | undefined {
  if (cost_usd === undefined) return total_tokens ? "price unknown" : undefined;
  if (cost_usd > 0 && cost_usd < 0.0001) return "< $0.0001";
  return `$${cost_usd < 0.1 ? Number(cost_usd.toPrecision(2)) : cost_usd.toFixed(2)}`;
}

/** The time that has passed, in words: now, 5 min, 3 h, 2 d. */
export function age(timestamp: string): string {
  const minutes = Math.floor((Date.now() - Date.parse(timestamp)) / 60_000);
  if (minutes < 1) return "now";
  if (minutes < 60) return `${minutes} min`;
  return minutes < 60 * 24 ? `${Math.floor(minutes / 60)} h` : `${Math.floor(minutes / 60 / 24)} d`;
}

/** JSON with line breaks, and with each digit of its numbers; any other text as it is. */
export function pretty(text: string): string {
  try {
    return prettyJson(text);
  } catch {
    return text;
  }
}
