/** The tab Code: the request as a program, ready to copy. */

import { useMemo, useState } from "preact/hooks";

import { BASE_URL } from "../api.js";
import { CodeView } from "../chat/code_view.js";
import { chosen } from "../conversation.js";
import { html } from "../html.js";
import { SIMULATE, STREAM } from "../paths.js";
import { useStore } from "../store.js";
import { programsFor } from "./code.js";
import { Segments } from "./segments.js";

const EXAMPLE = "Why is the sky blue?";

export function CodeTab() {
  const request = useStore((state) => state.lastRequest);
  const choice = useStore((state) => state.choice);
  const [title, select] = useState("curl");
  const programs = useMemo(() => programsFor({ baseUrl: BASE_URL, ...portable(request ?? exampleOf(choice)) }), [request, choice]);
  const program = programs.find((each) => each.title === title);
  return html`
    <${Segments} label="Language" options=${programs.map((each) => each.title)} selected=${title} onSelect=${select} />
    <p class="small muted">
      ${request ? "Your last question as code." : "Your next question as code, with your model and tools."}
      ${` ${NOTES[title]}`}
    </p>
    <${CodeView} key=${title} pieces=${[{ key: 0, source: program.text, isClosed: true }]} info=${program.language} />
  `;
}

const NOTES = {
  curl: "For any shell.",
  fetch: "For browsers, Node, Deno, and Bun.",
  React: "Uses the agent-stream package, which resumes lost connections.",
  Python: "Uses the agent_stream package, which resumes lost connections.",
};

/** Returns the request without the tools of this page, which a program doesn't have. The question comes first. */
function portable({ path, body: { input, client_tools, ...body } }) {
  return { path, body: { input, ...body } };
}

function exampleOf(choice) {
  const path = choice.scenario ? SIMULATE : STREAM;
  return { path, body: { input: EXAMPLE, ...chosen(choice) } };
}
