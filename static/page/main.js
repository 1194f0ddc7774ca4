/** Starts the page. */

import { render } from "preact";

import { App } from "./app.js";
import { followChoice } from "./choice.js";
import { loadCatalog } from "./catalog.js";
import { followRoute } from "./conversation.js";
import { followReplay } from "./inspector/replay.js";
import { followWidth } from "./drawers.js";
import { html } from "./html.js";
import { followKeyboard } from "./keyboard.js";
import { restoreLastRequest } from "./last_request.js";
import { followUrl } from "./route.js";

followUrl();
followWidth();
followChoice();
restoreLastRequest();
followRoute();
followKeyboard();
followReplay();
const root = document.getElementById("app");
root.replaceChildren();
render(html`<${App} />`, root);
loadCatalog();
