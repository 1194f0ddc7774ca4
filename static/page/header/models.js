/** The models that can be picked: those of the service, and the scripts that answer in a model's place. */

import { hasWords } from "../words.js";

const SCRIPTS = [
  { id: "simulated/tools", about: "Script: makes the tool calls written in your question" },
  { id: "simulated/context", about: "Script: replies with the messages it received" },
];

const COMPACT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 0 });

/** Returns the entries of the picker that have these words: `{ id, label, about }`. The first is the default, as null. */
export function entriesFor({ models, default_model }, words) {
  const first = { id: null, label: "Default", about: default_model ?? "Chosen by the service" };
  const offered = models.map((model) => ({ id: model.id, label: model.id, about: aboutOf(model) }));
  const scripts = SCRIPTS.map(({ id, about }) => ({ id, label: id, about }));
  const found = [first, ...offered, ...scripts].filter(({ label, about }) => hasWords(`${label} ${about}`, words));
  const named = words.trim();
  const isKnown = found.some(({ id }) => id === named);
  return named.includes("/") && !isKnown ? [...found, { id: named, label: named, about: "Use this model" }] : found;
}

function aboutOf({ name, context_tokens: context, pricing }) {
  const { input_per_million: input, output_per_million: output } = pricing ?? {};
  return [
    name,
    context && `${COMPACT.format(context)} context`,
    input !== undefined && output !== undefined && `$${input} in / $${output} out per 1M tokens`,
  ]
    .filter(Boolean)
    .join(" · ");
}

/** Whether a script of this service has this name, and no model. */
export const isScript = (id) => id?.startsWith("simulated/") ?? false;

/** The name of a model without its provider, for a button. A script keeps its whole name. */
export function shortName(id) {
  return isScript(id) ? id : (id?.split("/").at(-1) ?? "Model");
}
