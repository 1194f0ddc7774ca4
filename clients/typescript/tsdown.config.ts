import { defineConfig } from "tsdown";

export default defineConfig({
  entry: ["src/index.ts", "src/react.ts"],
  platform: "neutral",
  target: "es2022",
  tsconfig: "tsconfig.build.json",
  deps: { neverBundle: ["agent-stream", "react"], onlyBundle: ["eventsource-parser"] },
  inputOptions: { checks: { pluginTimings: false } },
});
