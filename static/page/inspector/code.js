/** The same request as programs: curl, fetch, the React hook and Python. Pure; tests run each program. */

import { SIMULATE } from "../paths.js";
import { javascript, python } from "./literals.js";

/**
 * Returns the programs for a request: their titles, languages and texts. `path` is the route without the service's URL, and
 * `body` the JSON of the request.
 */
export function programsFor({ baseUrl, path, body }) {
  const request = { baseUrl: baseUrl.replace(/\/+$/, ""), path, body };
  return [
    { title: "curl", language: "bash", text: curl(request) },
    { title: "fetch", language: "javascript", text: fetching(request) },
    { title: "React", language: "typescript", text: react(request) },
    { title: "Python", language: "python", text: pythonProgram(request) },
  ];
}

/** The body is a here-document: nothing in it needs to be escaped, and it can have any length. */
function curl({ baseUrl, path, body }) {
  return `curl --no-buffer ${shellWord(baseUrl + path)} \\
  --header 'Content-Type: application/json' \\
  --data-binary @- <<'JSON'
${JSON.stringify(body, null, 2)}
JSON
`;
}

const shellWord = (text) => (/^[\w:/.-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

function fetching({ baseUrl, path, body }) {
  return `const response = await fetch(${javascript(baseUrl + path)}, {
  method: "POST",
  headers: { "Content-Type": "application/json", Accept: "application/json" },
  body: JSON.stringify(${javascript(body, 1)}),
});
if (!response.ok) throw new Error(await response.text());

const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
let rest = "";
for (let read = await reader.read(); !read.done; read = await reader.read()) {
  const lines = (rest + read.value).split("\\n");
  rest = lines.pop();
  for (const line of lines) {
    if (line.startsWith("data: ")) console.log(JSON.parse(line.slice(6)));
  }
}
`;
}

/** The hook finds the route by the question: one with a `scenario` is played by a script. */
function react({ baseUrl, body }) {
  const { session_id: sessionId, ...question } = body;
  const options = { baseUrl, ...(sessionId && { sessionId }) };
  return `import { useAgentStream } from "agent-stream/react";

export default function Chat() {
  const { stream, stop, isStreaming, output } = useAgentStream(${javascript(options, 1)});
  const ask = () => void stream(${javascript(question, 1)});
  return (
    <main>
      <p>{output}</p>
      <button type="button" onClick={isStreaming ? () => void stop() : ask}>
        {isStreaming ? "Stop" : "Ask"}
      </button>
    </main>
  );
}
`;
}

function pythonProgram({ baseUrl, path, body: { input, ...options } }) {
  const named = Object.entries(options).map(([name, value]) => `${name}=${python(value, 1)}`);
  const given = [python(input, 1), ...named].map((argument) => `\n    ${argument},`).join("");
  const method = path === SIMULATE ? "simulate" : "stream";
  return `from agent_stream import AgentStream, PartialOutput

with AgentStream(${python(baseUrl)}) as agent, agent.${method}(${given}
) as run:
    for event in run:
        match event:
            case PartialOutput(text):
                print(text, end="", flush=True)
`;
}
