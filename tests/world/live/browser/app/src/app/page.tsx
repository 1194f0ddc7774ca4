"use client";

import { useState } from "react";
import { useAgentStream } from "@/agent-stream";

/** The README's first lines, word for word but for the address. */
export default function Home() {
  const { stream, isStreaming, thinking } = useAgentStream({ baseUrl: process.env.NEXT_PUBLIC_API_URL });
  const [content, setContent] = useState("");

  const ask = async () => {
    await stream("Research AI", (event) => {
      if (event.event === "final_output") setContent(event.data.content);
    });
  };

  return (
    <main>
      <button onClick={ask} disabled={isStreaming}>
        Ask
      </button>
      <p>{thinking}</p>
      <p>{content}</p>
    </main>
  );
}
