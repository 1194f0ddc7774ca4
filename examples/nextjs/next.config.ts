import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import type { NextConfig } from "next";

const config: NextConfig = {
  // Compression would hold back the events of a stream until a block is full.
  compress: false,
  poweredByHeader: false,
  // Without this, Next.js may take a folder above with another lock file for the root.
  turbopack: { root: dirname(fileURLToPath(import.meta.url)) },
};

export default config;
