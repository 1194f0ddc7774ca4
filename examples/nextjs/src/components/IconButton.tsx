import type { ComponentProps } from "react";
import { Icon, type IconName } from "./icons";

interface IconButtonProps extends ComponentProps<"button"> {
  icon: IconName;
  /** What it does, for screen readers and as a tooltip. */
  label: string;
}

export function IconButton({ icon, label, className = "", ...button }: IconButtonProps) {
  return (
    <button
      type="button"
      aria-label={label}
      title={label}
      className={`grid size-8 place-items-center rounded-lg text-soft transition-colors hover:bg-hover hover:text-ink disabled:opacity-40 ${className}`}
      {...button}
    >
      <Icon name={icon} />
    </button>
  );
}
