/** Character references of HTML, such as `&amp;` and `&#233;`, in a text of markdown. */

const ENTITY = /&(?:#\d{1,7}|#[xX][\da-fA-F]{1,6}|[a-zA-Z][a-zA-Z\d]{1,31});/g;

const known = new Map();

/** Returns the text with the characters that its references stand for. */
export function decoded(text) {
  return text.includes("&") ? text.replace(ENTITY, decode) : text;
}

function decode(entity) {
  if (!known.has(entity)) known.set(entity, new DOMParser().parseFromString(entity, "text/html").body.textContent);
  return known.get(entity);
}
