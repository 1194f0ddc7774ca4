// The example's component as a page of its own: page.html?baseUrl=…&sessionId=…
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import AgentChat from "../../examples/react_integration";

const options = Object.fromEntries(new URLSearchParams(location.search));
createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <AgentChat {...options} />
  </StrictMode>,
);
