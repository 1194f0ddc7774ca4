/** Counts down to the moment at which the service decides by itself. */

import { useEffect, useState } from "preact/hooks";

import { html } from "../html.js";
import { duration } from "./format.js";

/** `words` say what happens at `until`, a time as RFC 3339, such as "Denied automatically". */
export function TimeLeft({ until, words }) {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  if (!until) return null;
  const left = Math.max(0, Date.parse(until) - now);
  return html`<span title=${new Date(until).toLocaleString()}>
    ${words} in ${duration(Math.ceil(left / 1000) * 1000)}
  </span>`;
}
