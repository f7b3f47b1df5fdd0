// Figures that take several answers of the server to tell.

import { isNumber } from "./words.js";

const HEARTBEATS = 4; // readings of a worker that a speed is drawn from
const WINDOW_S = 10; // time that a rate is drawn from

const readings = new Map();
let totals = [];

// Tokens per second by the worker's own clock, as its heartbeat and our questions do not keep step.
// `work` is what it has done since its model was loaded; null while it is not.
export function speedOf(model, work) {
  const seen = readings.get(model) ?? [];
  readings.set(model, seen);
  const at = work ? work.step_s + work.idle_s : NaN;
  if (!isNumber(at) || at < seen.at(-1)?.at) seen.length = 0; // gone, or loaded anew
  if (isNumber(at) && at !== seen.at(-1)?.at) {
    seen.push({ at, decode: work.decode_tokens, prefill: work.prefill_tokens });
  }
  if (seen.length > HEARTBEATS) seen.shift();
  if (seen.length < 2) return null;
  const [first, last] = [seen[0], seen.at(-1)], seconds = last.at - first.at;
  return {
    decode: (last.decode - first.decode) / seconds,
    prefill: (last.prefill - first.prefill) / seconds,
  };
}

// Requests per second, of which there have been `total` by now; null until there is a past.
export function rateOf(total, now) {
  if (total < totals.at(-1)?.total) totals = []; // the server has been started anew
  totals = [...totals.filter((point) => point.at >= now - WINDOW_S), { at: now, total }];
  const seconds = now - totals[0].at;
  return seconds > 0 ? (total - totals[0].total) / seconds : null;
}
