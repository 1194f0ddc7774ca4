import { defineConfig } from "tsdown";

export default defineConfig({
  entry: ["src/index.ts", "src/react.ts"],
  platform: "neutral",
  target: "es2022",
  dts: { oxc: {} },
  deps: { neverBundle: ["agent-stream", "react"], onlyBundle: ["eventsource-parser"] },
});
