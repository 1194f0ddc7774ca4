import type { Source } from "agent-stream";

/** The web pages that an answer cites. The service sends only URLs of web pages; the titles are foreign text. */
export function Sources({ sources }: { sources: Source[] }) {
  return (
    <section aria-label="Sources" className="my-3 text-sm text-soft">
      <ol className="list-decimal pl-5 wrap-anywhere">
        {sources.map(({ url, title, snippet }) => (
          <li key={url}>
            <a href={url} title={snippet} target="_blank" rel="noopener noreferrer nofollow" className="underline">
              {title ?? url}
            </a>
          </li>
        ))}
      </ol>
    </section>
  );
}
