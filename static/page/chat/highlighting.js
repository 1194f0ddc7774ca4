/** Colours code. A grammar is loaded when it is first needed, and each piece of code is coloured in idle time. */

import hljs from "hljs/core";
import { h } from "preact";

import { whenIdle } from "./idle.js";

/** The grammars that the service has, with the other names under which code is marked. */
const GRAMMARS = {
  bash: ["sh", "shell", "zsh", "console", "shellsession"],
  c: ["h"],
  cpp: ["c++", "cc", "hpp", "cxx"],
  csharp: ["cs", "c#"],
  css: ["scss"],
  diff: ["patch"],
  go: ["golang"],
  http: [],
  ini: ["toml", "conf", "env", "properties"],
  java: [],
  javascript: ["js", "jsx", "mjs", "cjs", "node"],
  json: ["jsonc", "json5", "jsonl"],
  kotlin: ["kt"],
  php: [],
  python: ["py", "python3", "pycon"],
  ruby: ["rb"],
  rust: ["rs"],
  sql: ["postgresql", "sqlite", "mysql"],
  swift: [],
  typescript: ["ts", "tsx", "mts"],
  xml: ["html", "svg", "xhtml", "vue"],
  yaml: ["yml"],
};
const NAMES = new Map(
  Object.entries(GRAMMARS).flatMap(([name, others]) => [name, ...others].map((other) => [other, name])),
);
const LONGEST_LINE = 2000;

/** Returns the name of the grammar for the words after a fence, or null if there is none. */
export function grammarFor(info) {
  return NAMES.get(info.split(/[\s{:,]/, 1)[0].toLowerCase()) ?? null;
}

/** Calls `show` with coloured elements for the source, unless the returned function is called before. */
export function colour(source, grammar, show) {
  let isWanted = true;
  let forget = () => {};
  const draw = () => {
    const { _emitter: emitter } = hljs.highlight(source, { language: grammar, ignoreIllegals: true });
    show(elementsIn(emitter.root));
  };
  const isReadable = source.split("\n").every((line) => line.length <= LONGEST_LINE);
  if (isReadable) void loaded(grammar).then((isLoaded) => isLoaded && isWanted && (forget = whenIdle(draw)));
  return () => {
    isWanted = false;
    forget();
  };
}

const loading = new Map();

function loaded(grammar) {
  if (!loading.has(grammar)) loading.set(grammar, load(grammar));
  return loading.get(grammar);
}

/** Resolves with false if the service can't be reached. The code then stays without colours. */
async function load(grammar) {
  const module = await import(`hljs/languages/${grammar}.min.js`).catch(() => null);
  if (module === null) return false;
  hljs.registerLanguage(grammar, module.default);
  return true;
}

/** The library's tree as elements. Its texts stay texts, and its scopes are those of the grammars. */
function elementsIn({ children }) {
  return children.map((child) => {
    if (typeof child === "string") return child;
    const [scope] = (child.scope ?? "").split(".");
    return h("span", scope ? { class: `hljs-${scope}` } : null, elementsIn(child));
  });
}
