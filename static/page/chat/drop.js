/** Files that are dropped on an element. */

import { useState } from "preact/hooks";

/** Returns the handlers of the element, and `isOver` while files are dragged over it. */
export function useDrop(take) {
  const [isOver, setOver] = useState(false);
  const hasFiles = (event) => event.dataTransfer.types.includes("Files");
  const over = (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    setOver(true);
  };
  const leave = (event) => {
    if (!event.currentTarget.contains(event.relatedTarget)) setOver(false);
  };
  const drop = (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    setOver(false);
    void take(event.dataTransfer.files);
  };
  return { isOver, onDragOver: over, onDragLeave: leave, onDrop: drop };
}
