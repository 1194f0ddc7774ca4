/* A person's decisions on calls, as they are sent. */

import { RunFailed } from "./failures";
import type { ApprovalDecision } from "./contract";
import type { Changes } from "./options";

/** A person's decision on a call that needs approval. An approval may have other arguments. */
export type Decision = Omit<ApprovalDecision, "arguments"> & Changes;

/** Returns the JSON of an approval. Throws a RunFailed if the changed arguments can't be sent exactly. */
export function approval({ arguments: changed, arguments_text: text }: Changes = {}): string {
  const json = text ?? (changed && JSON.stringify(changed, exact));
  if (json === undefined) return '{"approved":true}';
  checkObject(json);
  return `{"approved":true,"arguments":${json}}`;
}

/** A replacer of `JSON.stringify` that lets only those numbers pass whose digits are surely the ones that are meant. */
function exact(_: string, value: unknown): unknown {
  const isNumber = typeof value === "number";
  if (typeof value !== "bigint" && !(isNumber && (!Number.isFinite(value) || isMaybeRounded(value)))) return value;
  throw invalid(`${value} may not be the number that is meant: JavaScript rounds it. Send the arguments as \`arguments_text\`.`);
}

const isMaybeRounded = (value: number) => Number.isInteger(value) && !Number.isSafeInteger(value);

function checkObject(json: string): void {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (cause) {
    throw invalid(`The arguments are not valid JSON: ${(cause as SyntaxError).message}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw invalid("The arguments are not a JSON object.");
}

const invalid = (message: string) => new RunFailed({ code: "invalid_arguments", message, retryable: false });
