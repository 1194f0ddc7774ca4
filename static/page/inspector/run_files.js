/** Opens the run files that the user chooses or drops. */

import { createStore } from "../store.js";
import { openReplay } from "./replay.js";
import { openRunFile } from "./run_file.js";
import { frameOf } from "./stored_log.js";

/** The reason why the last file could not be opened, or null. */
export const fileProblem = createStore({ text: null });

/** Opens a file as a replay. */
export async function openFile(file) {
  fileProblem.set({ text: null });
  try {
    const records = await openRunFile(file);
    openReplay({ name: file.name, frames: records.map(({ event, json }) => frameOf(event, json)) });
  } catch (cause) {
    fileProblem.set({ text: `${file.name}: ${cause.message}` });
  }
}

/** Returns the handlers with which an element takes a dropped file. `onFile` is called first. */
export function takingFiles(onFile) {
  return {
    onDragOver: (event) => event.preventDefault(), // else the browser would show the file in place of the page
    onDrop(event) {
      event.preventDefault();
      const [file] = event.dataTransfer.files;
      if (!file) return;
      onFile();
      void openFile(file);
    },
  };
}
