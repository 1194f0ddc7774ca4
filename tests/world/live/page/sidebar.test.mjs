/* The sidebar's modules that need no page: days and times of chats. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { dayOf, timeInDay } from "../../../../static/page/times.js";

const NOON = new Date(2026, 10, 28, 12).getTime();
const at = (...date) => new Date(...date).toISOString();

test("a day is today, yesterday, or a date, by the calendar and not by hours", () => {
  const days = [
    [at(2026, 10, 28, 0, 1), "Today"],
    [at(2026, 10, 28, 12, 5), "Today"], // the service's clock may be ahead
    [at(2026, 10, 29, 1), "Today"],
    [at(2026, 10, 27, 23, 59), "Yesterday"],
    [at(2026, 10, 27, 0, 0), "Yesterday"],
    [at(2026, 10, 26, 23, 59), "Thu, Nov 26"],
    [at(2025, 11, 31, 8), "Dec 31, 2025"],
  ];
  for (const [time, day] of days) assert.equal(dayOf(time, NOON), day);
});

test("a chat of today has its age, and an earlier one its time of day", () => {
  assert.equal(timeInDay(at(2026, 10, 28, 11, 55), NOON), "5 min");
  assert.equal(timeInDay(at(2026, 10, 27, 0, 5), NOON), "00:05");
  assert.equal(timeInDay(at(2026, 10, 3, 14, 5), NOON), "14:05");
});
