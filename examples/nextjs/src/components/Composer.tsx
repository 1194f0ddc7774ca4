"use client";

import { type Message, textOf } from "agent-stream";
import { useReturned } from "agent-stream/react";
import { type KeyboardEvent, type ReactNode, type RefObject, useState } from "react";
import { Icon } from "./icons";

interface ComposerProps {
  field: RefObject<HTMLTextAreaElement | null>;
  messages: Message[];
  isStreaming: boolean;
  ask: (question: string) => void;
  stop: () => void;
}

const IN_COMPOSITION = 229; // the key code of a key that the input method takes

/** Whether a key chooses a word of an input method. Safari reports it by the key code only. */
function isComposing({ nativeEvent }: KeyboardEvent): boolean {
  return nativeEvent.isComposing || nativeEvent.keyCode === IN_COMPOSITION;
}

/**
 * The field for a question. Enter sends it, Shift+Enter begins a new line, Escape stops the answer. A question that was
 * stopped or refused before it had arrived comes back.
 */
export function Composer({ field, messages, isStreaming, ask, stop }: ComposerProps) {
  const [text, setText] = useState("");
  useReturned(messages, ({ content }) => setText((typed) => typed || textOf(content ?? "")));

  const send = () => {
    if (isStreaming || text.trim() === "") return;
    ask(text.trim());
    setText("");
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "Escape" && isStreaming) stop();
    if (event.key !== "Enter" || event.shiftKey || isComposing(event)) return;
    event.preventDefault();
    send();
  };

  return (
    <form
      onSubmit={(submit) => {
        submit.preventDefault();
        send();
      }}
      className="flex items-end gap-2 rounded-3xl border border-edge bg-page p-2 shadow-sm transition-colors focus-within:border-accent focus-within:ring-3 focus-within:ring-accent/20"
    >
      <textarea
        ref={field}
        id="question"
        aria-label="Your question"
        placeholder="Ask the agent"
        rows={1}
        value={text}
        onChange={(change) => setText(change.target.value)}
        onKeyDown={onKeyDown}
        className="field-sizing-content max-h-48 flex-1 resize-none bg-transparent px-3 py-1.5 leading-6 outline-none placeholder:text-soft"
      />
      {isStreaming ? (
        <RoundButton label="Stop (Esc)" onClick={stop}>
          <span aria-hidden className="size-3 rounded-[3px] bg-current" />
        </RoundButton>
      ) : (
        <RoundButton label="Send (Enter)" isSubmit disabled={text.trim() === ""}>
          <Icon name="send" className="size-5" />
        </RoundButton>
      )}
    </form>
  );
}

interface RoundButtonProps {
  label: string;
  children: ReactNode;
  isSubmit?: boolean;
  disabled?: boolean;
  onClick?: () => void;
}

function RoundButton({ label, isSubmit = false, ...button }: RoundButtonProps) {
  return (
    <button
      type={isSubmit ? "submit" : "button"}
      aria-label={label}
      title={label}
      className="grid size-9 shrink-0 place-items-center rounded-full bg-accent text-on-accent transition-colors hover:bg-accent-strong disabled:bg-hover disabled:text-soft"
      {...button}
    />
  );
}
