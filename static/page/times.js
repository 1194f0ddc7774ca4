/** Times as people read them. */

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
