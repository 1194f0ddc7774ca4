/** Requests as the page shows them. */

const SECRET = /authorization|cookie|token|secret|(^|-)key$/i;
const NOT_SECRET = "idempotency-key";

/** Returns headers with the values of those that can hold a secret hidden. */
export function withoutSecrets(headers) {
  const isSecret = (name) => SECRET.test(name) && name.toLowerCase() !== NOT_SECRET;
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, isSecret(name) ? "•••" : value]));
}
