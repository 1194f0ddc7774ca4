/** Times as people read them, in the time zone of the browser. */

const UNITS = [
  [86_400_000, "d"],
  [3_600_000, "h"],
  [60_000, "min"],
];

/** Returns how long ago an RFC 3339 time was, such as `5 min`, or `now`. */
export function age(time, now = Date.now()) {
  const past = now - Date.parse(time);
  const [size, unit] = UNITS.find(([size]) => past >= size) ?? [];
  return unit ? `${Math.floor(past / size)} ${unit}` : "now";
}

const DAY_MS = 86_400_000;
const DATE = new Intl.DateTimeFormat("en", { weekday: "short", month: "short", day: "numeric" });
const DATE_WITH_YEAR = new Intl.DateTimeFormat("en", { year: "numeric", month: "short", day: "numeric" });
const CLOCK = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

/** Returns the day of an RFC 3339 time: `Today`, `Yesterday`, `Mon, Nov 23`, or `Dec 31, 2025`. */
export function dayOf(time, now = Date.now()) {
  const date = new Date(time);
  const days = Math.round((midnightOf(now) - midnightOf(date)) / DAY_MS); // a day of 23 or 25 hours counts as one
  if (days < 1) return "Today";
  if (days === 1) return "Yesterday";
  return (date.getFullYear() === new Date(now).getFullYear() ? DATE : DATE_WITH_YEAR).format(date);
}

const midnightOf = (time) => new Date(time).setHours(0, 0, 0, 0);

/** Returns when an RFC 3339 time was, for a list by days: how long ago today, and the time of day before, such as `14:05`. */
export function timeInDay(time, now = Date.now()) {
  return dayOf(time, now) === "Today" ? age(time, now) : CLOCK.format(new Date(time));
}
