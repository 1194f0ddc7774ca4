"use client";

import { useState } from "react";
import { IconButton } from "./IconButton";

const SHOWN_MS = 1_500;

export function CopyButton({ text, label, className = "" }: { text: () => string; label: string; className?: string }) {
  const [isCopied, setCopied] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(text());
    setCopied(true);
    setTimeout(() => setCopied(false), SHOWN_MS);
  };
  return (
    <IconButton
      icon={isCopied ? "check" : "copy"}
      label={isCopied ? "Copied" : label}
      className={className}
      onClick={() => void copy()}
    />
  );
}
