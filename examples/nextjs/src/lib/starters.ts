import type { Question } from "agent-stream";

interface Starter {
  icon: "chat" | "pen" | "tool" | "person";
  title: string;
  about: string;
  question: string | Question;
}

/** The questions that a new chat offers. The last two need no model: `simulated/tools` is a script that makes the calls in the question. */
export const STARTERS: Starter[] = [
  {
    icon: "chat",
    title: "Ask a question",
    about: "Why is the sky blue?",
    question: "Why is the sky blue?",
  },
  {
    icon: "pen",
    title: "Draft something",
    about: "A short thank-you note to a colleague.",
    question: "Write a short thank-you note to a colleague.",
  },
  {
    icon: "tool",
    title: "Watch a tool call",
    about: "The calculator works out a percentage.",
    question: {
      input: 'What is 19 % of 2,480?\ncalculate {"expression": "2480 * 0.19"}',
      model: "simulated/tools",
      tools: ["calculate"],
    },
  },
  {
    icon: "person",
    title: "Approve a call",
    about: "The agent waits until you decide.",
    question: {
      input: 'What time is it in Oslo?\ncurrent_time {"timezone": "Europe/Oslo"}',
      model: "simulated/tools",
      tools: ["current_time"],
      require_approval: ["current_time"],
    },
  },
];
