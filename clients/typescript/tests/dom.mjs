// A page for React to render into. It is loaded first, since React looks for a page when it is imported.
import { JSDOM } from "jsdom";

const { window } = new JSDOM("<!doctype html>", { url: "http://localhost:3000/" });
for (const name of ["window", "document", "sessionStorage"]) {
  Object.defineProperty(globalThis, name, { value: window[name], configurable: true });
}
