/* Resolves the names of the page's import map in Node. */

import { readFileSync } from "node:fs";
import { registerHooks } from "node:module";

const ROOT = new URL("../../../../", import.meta.url);
const [, map] = readFileSync(new URL("static/index.html", ROOT), "utf8").match(/<script type="importmap">(.*?)<\/script>/s);
const { imports } = JSON.parse(map);
/** The service serves the built client under a name of its own. */
const files = { ...imports, "agent-stream": "clients/typescript/dist/index.js" };

registerHooks({
  resolve: (name, context, next) =>
    Object.hasOwn(files, name) ? { url: new URL(files[name], ROOT).href, shortCircuit: true } : next(name, context),
});
