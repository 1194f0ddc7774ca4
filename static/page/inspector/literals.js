/** JSON values as source text of JavaScript and Python. */

const WIDTH = 80;
const IDENTIFIER = /^[A-Za-z_$][\w$]*$/;

const JAVASCRIPT = {
  atom: JSON.stringify,
  key: (key) => (key === "__proto__" ? '["__proto__"]' : IDENTIFIER.test(key) ? key : JSON.stringify(key)),
  brackets: { array: ["[", "]"], object: ["{", "}"], padding: " " },
  indent: "  ",
};

const PYTHON = {
  atom: (value) => ({ true: "True", false: "False", null: "None" })[String(value)] ?? JSON.stringify(value),
  key: JSON.stringify,
  brackets: { array: ["[", "]"], object: ["{", "}"], padding: "" },
  indent: "    ",
};

/** Returns a value as JavaScript. `depth` is the indentation of the line that it stands in. */
export const javascript = (value, depth = 0) => literal(value, depth, JAVASCRIPT);

/** Returns a value as Python. */
export const python = (value, depth = 0) => literal(value, depth, PYTHON);

function literal(value, depth, language) {
  if (typeof value !== "object" || value === null) return atom(value, language);
  const isArray = Array.isArray(value);
  const items = isArray
    ? value.map((item) => literal(item, depth + 1, language))
    : Object.entries(value).map(([key, item]) => `${language.key(key)}: ${literal(item, depth + 1, language)}`);
  const [open, close] = language.brackets[isArray ? "array" : "object"];
  if (items.length === 0) return open + close;
  const padding = isArray ? "" : language.brackets.padding;
  const short = open + padding + items.join(", ") + padding + close;
  if (short.length <= WIDTH && !short.includes("\n")) return short;
  const line = `\n${language.indent.repeat(depth)}`;
  return open + items.map((item) => `${line}${language.indent}${item},`).join("") + line + close;
}

/** A string that looks like a keyword stays a string. */
function atom(value, { atom }) {
  return typeof value === "string" ? JSON.stringify(value) : atom(value);
}
