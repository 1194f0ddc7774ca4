import { useRef, useState } from "react";
import { flushSync } from "react-dom";

/** A drawer, which gets the focus when it opens and returns it to the button that opened it. */
export function useDrawer() {
  const drawer = useRef<HTMLElement>(null);
  const opener = useRef<HTMLButtonElement>(null);
  const [isDrawerOpen, setDrawerOpen] = useState(false);
  const openDrawer = () => {
    flushSync(() => setDrawerOpen(true));
    drawer.current?.focus();
  };
  const closeDrawer = () => {
    if (!isDrawerOpen) return;
    flushSync(() => setDrawerOpen(false));
    opener.current?.focus();
  };
  return { drawer, opener, isDrawerOpen, openDrawer, closeDrawer };
}
