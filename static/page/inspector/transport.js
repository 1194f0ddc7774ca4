/** The controls of a replay: play, pause, speed and the scrubber. */

import { html } from "../html.js";
import { duration } from "./formats.js";
import { isCut, SPEEDS, timeAt } from "./playback.js";
import { closeReplay, pause, play, seek, setSpeed } from "./replay.js";
import { Segments } from "./segments.js";

const speedTitle = (speed) => (speed === Infinity ? "Instant" : `${speed}×`);

export function Transport({ replay: { name, frames, offsets, position, speed, isPlaying } }) {
  const shown = frames[position - 1]?.event;
  const place = `event ${position} of ${frames.length}`;
  return html`
    <section class="card replay-card" aria-labelledby="replay-title">
      <h3 id="replay-title" class="cut">Replay</h3>
      <p class="mono tiny cut" title=${name}>${name}</p>
      <input
        type="range"
        class="scrubber"
        aria-label="Event"
        aria-valuetext="${place}${shown ? `, ${shown.event}` : ""}"
        min="0"
        max=${frames.length}
        value=${position}
        onInput=${(event) => {
          pause();
          seek(Number(event.target.value));
        }}
      />
      <p class="spread tiny muted">
        <span>${place}${shown && html` · <span class="mono">${shown.event}</span>`}</span>
        <span>${duration(timeAt(offsets, position))} of ${duration(offsets.at(-1))}</span>
      </p>
      <div class="button-line">
        <button type="button" class="primary" onClick=${isPlaying ? pause : play}>${isPlaying ? "Pause" : "Play"}</button>
        <${Segments} label="Speed" options=${SPEEDS} selected=${speed} onSelect=${setSpeed} titleOf=${speedTitle} />
        <button type="button" class="plain" onClick=${closeReplay}>Close</button>
      </div>
      ${isCut(frames) && html`<p class="note small">This recording is incomplete: it ends at event ${frames.length}, before the run does.</p>`}
      <p class="tiny muted">The chat and the other tabs follow this position.</p>
    </section>
  `;
}
