// The React snippet of the project's description, word for word, in a component. The compiler checks it.
import { useAgentStream } from "agent-stream/react";

export function Page() {
  const { stream, isStreaming, thinking } = useAgentStream();

  async function ask() {
    await stream("Research AI", (event) => {
      if (event.event === 'final_output') {
        console.log(event.data.content);
      }
    });
  }

  return (
    <button onClick={ask} disabled={isStreaming}>
      {thinking}
    </button>
  );
}
