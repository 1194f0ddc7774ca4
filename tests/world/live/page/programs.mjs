/* Reads requests as a JSON array, and prints the programs of each: an array of { title: text }. */

import { json } from "node:stream/consumers";

import { programsFor } from "../../../../static/page/inspector/code.js";

const requests = await json(process.stdin);
const programs = requests.map((request) => programsFor(request).map(({ title, text }) => [title, text]));
console.log(JSON.stringify(programs.map(Object.fromEntries)));
