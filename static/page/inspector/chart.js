/** The chart of output tokens over time. */

import { useEffect, useRef, useState } from "preact/hooks";

import { html } from "../html.js";
import { ticksOf, TimeAxis } from "./time_axis.js";

const HEIGHT = 130;

/** Returns the colours of the theme. A canvas doesn't know CSS variables. */
function colours(element) {
  const style = getComputedStyle(element);
  const colour = (name) => style.getPropertyValue(name);
  return { line: style.color, grid: style.borderTopColor, text: style.outlineColor, font: `11px ${colour("--font")}` };
}

/** `seconds()` returns the end of the time axis. */
function optionsFor(element, UPlot, seconds) {
  const { line, grid, text, font } = colours(element);
  const axis = { stroke: text, font, grid: { stroke: grid, width: 1 }, ticks: { show: false } };
  return {
    width: element.clientWidth,
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    scales: { x: { time: false, range: () => [0, seconds()] } },
    padding: [null, 0, 8, 0],
    axes: [
      { ...axis, size: 0, splits: () => ticksOf(seconds()), values: () => [] },
      { ...axis, size: 38 },
    ],
    series: [{}, { paths: UPlot.paths.stepped({ align: 1 }), stroke: line, width: 2, fill: `color-mix(in srgb, ${line} 14%, transparent)`, points: { show: false } }],
  };
}

/** Returns the library, or null until it is loaded. It is a fifth of the page's size, and a new chat needs no chart. */
function useUPlot() {
  const [UPlot, setUPlot] = useState(null);
  useEffect(() => {
    import("uplot").then(
      (module) => setUPlot(() => module.default),
      () => {}, // without a connection there is no chart
    );
  }, []);
  return UPlot;
}

/** Shows `data`: seconds and tokens, on a time axis of so many `seconds`. `label` says in words what it shows. */
export function Chart({ data, seconds, label }) {
  const UPlot = useUPlot();
  const place = useRef(null);
  const chart = useRef(null);
  const latest = useRef(null);
  latest.current = { data, seconds };
  useEffect(() => {
    if (!UPlot) return undefined;
    const element = place.current;
    const draw = () => {
      chart.current?.destroy();
      chart.current = new UPlot(optionsFor(element, UPlot, () => latest.current.seconds), latest.current.data, element);
    };
    const theme = matchMedia("(prefers-color-scheme: dark)");
    const sizes = new ResizeObserver(draw);
    sizes.observe(element);
    theme.addEventListener("change", draw);
    return () => {
      sizes.disconnect();
      theme.removeEventListener("change", draw);
      chart.current?.destroy();
      chart.current = null;
    };
  }, [UPlot]);
  useEffect(() => chart.current?.setData(data), [data, seconds]);
  return html`
    <div class="chart" role="img" aria-label=${label} ref=${place}></div>
    <${TimeAxis} ms=${seconds * 1_000} />
  `;
}
