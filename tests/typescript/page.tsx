// The example's component as a page of its own: page.html?baseUrl=…&sessionId=…[&tool=…]
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import AgentChat from "../../examples/react_integration";

const { tool, ...options } = Object.fromEntries(new URLSearchParams(location.search));

/** Counts its calls, and takes longer than the page is there. */
function run(): Promise<never> {
  localStorage.setItem("calls", String(Number(localStorage.getItem("calls")) + 1));
  return new Promise(() => {});
}
createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <AgentChat {...options} {...(tool && { clientTools: { [tool]: { run } } })} />
  </StrictMode>,
);
