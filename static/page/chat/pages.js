/** Sources of an answer as links that are safe to show. Pure. */

/** Returns each source with its number, its link, its host and a label. One whose URL is not of a web page is left out. */
export function pagesOf(sources) {
  return sources.flatMap(({ url, title, snippet }, place) => {
    const link = URL.parse(url);
    if (link === null || !["http:", "https:"].includes(link.protocol)) return [];
    return [{ number: place + 1, href: link.href, host: link.host, label: title ?? link.host, snippet }];
  });
}
