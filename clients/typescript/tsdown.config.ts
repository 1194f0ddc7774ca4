import { defineConfig } from "tsdown";

// tsdown 0.23 needs the package yuku, whose builds for some systems are not in every registry. Its lock file is then
// incomplete, and `npm ci` refuses it.
export default defineConfig({
  entry: ["src/index.ts", "src/react.ts"],
  platform: "neutral",
  target: "es2022",
  tsconfig: "tsconfig.build.json",
  deps: { neverBundle: ["agent-stream", "react"], onlyBundle: ["eventsource-parser"] },
  inputOptions: { checks: { pluginTimings: false } },
});
