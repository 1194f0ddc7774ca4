/** Files in a question: images as data URLs, and text files as text. */

import { size } from "./format.js";

/** The types that vision models read. */
const IMAGES = new Set(["image/png", "image/jpeg", "image/webp", "image/gif"]);
const TEXTS = "text/*,.md,.csv,.json,.jsonl,.yaml,.yml,.toml,.log,.py,.ts,.js,.sql";
/** The files that the browser's dialog offers first. */
export const ACCEPTED = [...IMAGES, TEXTS].join();
/** Sizes in bytes. Base64 makes an image a third larger, and the service accepts bodies of 10 MiB (MAX_BODY_BYTES). */
const LARGEST_IMAGE = 5e6;
const LARGEST_TEXT = 500_000;
export const LARGEST_TOGETHER = 7e6;
const FILE = /^File (.{1,255}):\n\n/;

/** Reads a file. Returns `{name, size, part}`, where `part` belongs in a question, or `{problem}` for a person. */
export async function readAttachment(file) {
  const name = file.name || "image";
  const isImage = IMAGES.has(file.type);
  if (!isImage && file.type.startsWith("image/")) return unknown(name);
  const limit = isImage ? LARGEST_IMAGE : LARGEST_TEXT;
  if (file.size > limit) return tooLarge(name, file, limit);
  return isImage ? imageOf(name, file) : textFileOf(name, file);
}

async function textFileOf(name, file) {
  const text = await textIn(file);
  if (text === null) return unknown(name);
  if (text.trim() === "") return { problem: `${name} is empty.` };
  const heading = `File ${name.replaceAll("\n", " ").slice(0, 255)}:\n\n`;
  return { name, size: file.size, part: { type: "text", text: heading + text } };
}

function tooLarge(name, file, limit) {
  return { problem: `${name} is too large (${size(file.size)}). The limit is ${size(limit)}.` };
}

function unknown(name) {
  return { problem: `${name} isn't a text file or a supported image (PNG, JPEG, WebP, GIF).` };
}

async function imageOf(name, file) {
  const url = await new Promise((resolve) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => resolve(null);
    reader.readAsDataURL(file);
  });
  return url === null ? { problem: `Couldn't read ${name}.` } : { name, size: file.size, part: { type: "image", url } };
}

/** The text of a file in UTF-8, or null if it is no text. */
async function textIn(file) {
  const bytes = await file.arrayBuffer().catch(() => null);
  if (bytes === null) return null;
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return text.includes("\0") ? null : text;
  } catch {
    return null;
  }
}

/** The content of a question with attachments. */
export function contentOf(text, attachments) {
  const parts = attachments.map(({ part }) => part);
  if (parts.length === 0) return text;
  return text.trim() === "" ? parts : [{ type: "text", text }, ...parts];
}

/** Returns `{text, attachments}` of a question's content. */
export function partsOf(content) {
  if (typeof content === "string") return { text: content, attachments: [] };
  const texts = content.filter((part) => part.type === "text" && !FILE.test(part.text));
  const others = content.filter((part) => !texts.includes(part));
  return { text: texts.map(({ text }) => text).join("\n\n"), attachments: others.map(attachmentOf) };
}

function attachmentOf(part) {
  if (part.type !== "text") return { name: part.name ?? part.type, part, size: Math.round((part.url.length * 3) / 4) };
  const [heading, name] = FILE.exec(part.text);
  return { name, part, size: part.text.length - heading.length };
}
