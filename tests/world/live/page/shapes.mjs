/* Reads events as a JSON array, and prints the key of each that the inspector finds wrong, or null. */

import { json } from "node:stream/consumers";

import { wrongKey } from "../../../../static/page/inspector/event_shapes.js";

const events = await json(process.stdin);
console.log(JSON.stringify(events.map(wrongKey)));
