// Lines of the last two minutes. Everything a chart shows is also said beside it in figures.

import { makeSvg } from "./nodes.js";
import { isNumber } from "./words.js";

const SPAN_S = 120;
const GAP_S = 5; // the line is not drawn across a longer silence
const HEIGHT = 100;

const traces = new Map();

export const traceOf = (key) => traces.get(key) ?? [];

export function remember(key, at, value) {
  const points = traceOf(key).filter((point) => point.at >= at - SPAN_S);
  if (isNumber(value) && points.at(-1)?.at !== at) points.push({ at, value });
  traces.set(key, points);
}

// A view of a trace; `top` is the value at its upper edge, that of the highest point by default.
export function makeChart() {
  const area = makeSvg("path", { class: "area" }), line = makeSvg("path", { class: "line" });
  const frame = { class: "chart", "aria-hidden": "true", preserveAspectRatio: "none" };
  const node = makeSvg("svg", { ...frame, viewBox: `0 0 ${SPAN_S} ${HEIGHT}` }, area, line);
  return {
    node,
    show({ key, now, top }) {
      const runs = findRuns(traceOf(key), now, top);
      const lines = runs.map((run) => `M${run.map((point) => point.join(" ")).join("L")}`);
      const down = (run) => `L${run.at(-1)[0]} ${HEIGHT}L${run[0][0]} ${HEIGHT}Z`;
      line.setAttribute("d", lines.join(""));
      area.setAttribute("d", runs.map((run, i) => lines[i] + down(run)).join(""));
    },
  };
}

function findRuns(points, now, top) {
  const highest = top || Math.max(1, ...points.map((point) => point.value)) * 1.1;
  const runs = [];
  points.forEach(({ at, value }, i) => {
    if (i === 0 || at - points[i - 1].at > GAP_S) runs.push([]);
    const x = SPAN_S - (now - at), y = HEIGHT - 2 - (HEIGHT - 4) * Math.min(value / highest, 1);
    runs.at(-1).push([x.toFixed(1), y.toFixed(1)]);
  });
  return runs;
}
