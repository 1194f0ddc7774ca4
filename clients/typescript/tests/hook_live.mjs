// The tests of the hook, in a page.
import "./dom.mjs";
import "../build/hook_live.test.js";
