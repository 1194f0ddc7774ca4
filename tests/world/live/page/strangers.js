// Finds elements in the page that no part of the page makes. The tests define these functions in the page.

const FORBIDDEN = "script,iframe,frame,object,embed,style,link,meta,base,math,video,audio,source,template,marquee";
const FETCHING = ["srcset", "srcdoc", "action", "formaction", "background", "poster", "ping", "xlink:href"];
const MARKUP = ["class", "dir", "start", "tabindex", "role", "aria-label", "aria-hidden", "type", "title", "href", "target"];
const OF_LINKS_AND_ICONS = ["rel", "referrerpolicy", "viewBox", "width", "height", "focusable", "d"];

const ICON = new URL("./static/page/icon.svg", document.baseURI).href;

const described = (element) => element.outerHTML.slice(0, 200);

/** Elements anywhere that could run a script, or fetch something from elsewhere. */
window.strangersIn = (root) =>
  Array.from(root.querySelectorAll("*")).filter((element) => {
    const names = Array.from(element.attributes, ({ name }) => name);
    const isHandling = names.some((name) => name.startsWith("on") || FETCHING.includes(name));
    const isFetching = element.hasAttribute("src") && !element.src.startsWith("data:image/") && element.src !== ICON;
    const link = element.getAttribute("href") ?? "#";
    const isScript = !/^(https?:|\.\/|\?|#)/.test(link) || (element.closest("svg") && names.includes("href"));
    return element.matches(FORBIDDEN) || isHandling || isFetching || isScript;
  }).map(described);

/** Elements in an answer with attributes that markdown doesn't give, or with a link to this service. */
window.markupIn = (root) =>
  Array.from(root.querySelectorAll("*")).filter((element) => {
    const names = Array.from(element.attributes, ({ name }) => name);
    const isKnown = names.every((name) => MARKUP.includes(name) || OF_LINKS_AND_ICONS.includes(name));
    return !isKnown || (element.localName === "a" && element.origin === location.origin);
  }).map(described);

/** Draws each text as it grows by one character at a time. Calls `done` with what is wrong, and the last drawings' texts. */
window.stream = async (texts, done) => {
  const url = new URL("chat/text_view.js", document.querySelector("script[type=module]").src);
  const [{ h, render }, { TextView }] = await Promise.all([import("preact"), import(url)]);
  const wrong = [];
  const shown = texts.map((text) => {
    const box = document.body.appendChild(document.createElement("div"));
    for (let end = 1; end <= text.length; end += 1) {
      render(h(TextView, { text: text.slice(0, end), isWhole: end === text.length }), box);
      wrong.push(...window.strangersIn(box), ...window.markupIn(box));
    }
    const { textContent } = box;
    render(null, box);
    box.remove();
    return textContent;
  });
  done({ wrong, shown });
};
