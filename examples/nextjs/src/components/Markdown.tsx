"use client";

import { marked } from "marked";
import { type ComponentProps, memo, useMemo, useRef } from "react";
import ReactMarkdown, { type Components, type Options } from "react-markdown";
import rehypeHighlight from "rehype-highlight";
import rehypeSanitize from "rehype-sanitize";
import remarkGfm from "remark-gfm";
import { CopyButton } from "./CopyButton";

/** An unfinished block that is longer is shown as text until it ends: it is formatted again with each piece. */
const LONGEST_OPEN = 6_000;
const PARSERS = [remarkGfm];
/** A tag that a model writes about stays readable, and is never an element. */
const HTML_AS_TEXT: Options["remarkRehypeOptions"] = {
  handlers: { html: (_state, { value }: { value: string }) => ({ type: "text", value }) },
};
const SAFE = [rehypeSanitize];
const SAFE_AND_COLOURED = [rehypeSanitize, rehypeHighlight]; // the sanitizer would remove the colours

/** Markdown that may still be growing. Each block is formatted again only when it changes. */
export const Markdown = memo(function Markdown({ text, isGrowing }: { text: string; isGrowing: boolean }) {
  const blocks = useMemo(() => marked.lexer(text).map(({ raw }) => raw), [text]);
  return (
    <div className="prose">
      {blocks.map((block, place) => (
        <Block key={place} text={block} isOpen={isGrowing && place === blocks.length - 1} />
      ))}
    </div>
  );
});

const Block = memo(function Block({ text, isOpen }: { text: string; isOpen: boolean }) {
  if (isOpen && text.length > LONGEST_OPEN) return <div className="whitespace-pre-wrap">{text}</div>;
  return (
    <div>
      <ReactMarkdown
        remarkPlugins={PARSERS}
        remarkRehypeOptions={HTML_AS_TEXT}
        rehypePlugins={isOpen ? SAFE : SAFE_AND_COLOURED}
        components={COMPONENTS}
      >
        {text}
      </ReactMarkdown>
    </div>
  );
});

/** Links open in a tab of their own. Images become links, because loading one can send data to another server. */
const COMPONENTS: Components = {
  a: ({ href, children }) => (
    <a href={href} target="_blank" rel="noopener noreferrer">
      {children}
    </a>
  ),
  img: ({ src, alt }) => (
    <a href={typeof src === "string" ? src : undefined} target="_blank" rel="noopener noreferrer">
      {alt || "Image"}
    </a>
  ),
  table: ({ children }) => (
    <div className="table" tabIndex={0} role="region" aria-label="Table">
      <table>{children}</table>
    </div>
  ),
  pre: Code,
};

function Code({ children }: ComponentProps<"pre">) {
  const box = useRef<HTMLPreElement>(null);
  return (
    <div className="group/code relative">
      <pre ref={box} tabIndex={0} className="overflow-hidden rounded-lg border border-line bg-card">
        {children}
      </pre>
      <CopyButton
        label="Copy the code"
        text={() => box.current?.textContent ?? ""}
        className="absolute top-1.5 right-1.5 bg-card opacity-0 group-hover/code:opacity-100 focus-visible:opacity-100 pointer-coarse:opacity-100"
      />
    </div>
  );
}
