/* Resolves "agent-stream" in Node, as the import map of the page does. */

import { registerHooks } from "node:module";

const url = new URL("../../clients/typescript/dist/index.js", import.meta.url).href;

registerHooks({
  resolve: (name, context, next) => (name === "agent-stream" ? { url, shortCircuit: true } : next(name, context)),
});
