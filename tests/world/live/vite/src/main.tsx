import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { useAgentStream } from "agent-stream/react";

function App() {
  const { stream, output, status } = useAgentStream({ baseUrl: import.meta.env["VITE_API_URL"] });
  return (
    <main>
      <button onClick={() => void stream("Hello")}>Ask</button>
      <p>{output}</p>
      <small role="status">{status}</small>
    </main>
  );
}

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
