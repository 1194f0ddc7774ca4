/** The chat: messages, the approval dock and the composer. */

import { ask, useConversation } from "../conversation.js";
import { html } from "../html.js";

export function Chat() {
  const { messages, status } = useConversation();
  const send = (event) => {
    event.preventDefault();
    void ask(new FormData(event.target).get("question"));
  };
  return html`
    <div class="chat">
      <div role="log">${messages.map((message) => html`<p key=${message.message_id}>${message.role}: ${JSON.stringify(message.content)}</p>`)}</div>
      <p role="status">${status}</p>
      <form onSubmit=${send}><input id="question" name="question" aria-label="Question" /><button>Send</button></form>
    </div>
  `;
}
