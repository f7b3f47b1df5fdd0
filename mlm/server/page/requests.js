// The latest requests, newest first.

import { make, reveal, say, sync } from "./nodes.js";
import { count, isNumber, joined, milliseconds, timeOfDay } from "./words.js";

const COLUMNS = ["time", "name", "result", "cache", "prompt", "answer", "ttft", "e2e", "id"];

export function showRequests(page, recent) {
  const oldestFirst = number([...recent].sort((a, b) => a.at - b.at));
  sync(page.requests, oldestFirst.reverse(), (request) => request.key, makeRow);
  reveal(page.recent, recent.length);
  reveal(page["no-requests"], !recent.length);
}

// Several may have one id and one time: they are told apart by their order.
function number(oldestFirst) {
  const seen = new Map();
  return oldestFirst.map((request) => {
    const name = `${request.at} ${request.request_id}`, n = seen.get(name) ?? 0;
    seen.set(name, n + 1);
    return { ...request, key: `${name} ${n}` };
  });
}

function makeRow(request) {
  const texts = describe(request);
  const cells = COLUMNS.map((name) => make("td", { role: "cell", class: name }));
  cells.forEach((cell, i) => say(cell, texts[COLUMNS[i]]));
  const result = request.error ? "failed" : "ok";
  const node = make("tr", { role: "row", "data-result": result }, ...cells);
  return { node, show() {} }; // it has ended, so nothing of it changes any more
}

function describe(request) {
  const reused = request.cached_tokens > 0 && `${count(request.cached_tokens)} reused`;
  return {
    time: isNumber(request.at) ? timeOfDay(new Date(request.at * 1000)) : "",
    name: joined(request.model, request.endpoint, request.tenant && `key ${request.tenant}`),
    result: request.error ? `✕ ${joined(request.status, request.error)}` : "✓ ok",
    cache: request.cache,
    prompt: joined(count(request.prompt_tokens), reused),
    answer: count(request.completion_tokens),
    ttft: milliseconds(request.ttft_ms),
    e2e: milliseconds(request.e2e_ms),
    id: request.request_id,
  };
}
