"use client";

import { useState } from "react";
import { useAgentStream } from "agent-stream/react";

/** The first lines of docs/react.md. Options may be undefined, which strict types distinguish from those left out. */
export default function Home({ model }: { model?: string }) {
  const { stream, isStreaming, thinking } = useAgentStream({ baseUrl: process.env.NEXT_PUBLIC_API_URL });
  const [content, setContent] = useState("");

  const ask = async () => {
    await stream({ input: "Research AI", model }, (event) => {
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
