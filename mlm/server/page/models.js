// Models in use, with their figures and what can be done with them; below them the installed ones.

import { send } from "./ask.js";
import { makeChart, remember, traceOf } from "./chart.js";
import { make, reveal, say, sync } from "./nodes.js";
import { count, isNumber, joined, milliseconds, rate, share, size, span } from "./words.js";

const CONFIRMED_MS = 5000; // how long it is said that something has been done
const VERBS = {
  load: { label: "Load", busy: "Loading …", done: "Loaded." },
  unload: { label: "Unload", busy: "Unloading …", done: "Unloaded." },
  pin: { label: "Pin", busy: "Pinning …", done: "Pinned: it stays in memory." },
  unpin: { label: "Unpin", busy: "Unpinning …", done: "No longer pinned." },
};
const STATES = { ready: "Ready", stopping: "Unloading", stopped: "Not loaded" };
const LATENCIES = [
  ["ttft_ms", "TTFT", "first token"],
  ["itl_ms", "ITL", "gap between tokens"],
  ["e2e_ms", "E2E", "whole answer"],
];
const PERCENTILES = ["p50", "p95", "p99"];

const deeds = new Map(); // by model, the last that was asked for: {verb, isDone, isRefused, reply}
let onAsked = () => {};
let showAgain = () => {};
let wanted = null; // the model whose card gets the focus that its row in the list had

export const whenAsked = (callback) => { onAsked = callback; };

export function showModels(page, models, installed) {
  showAgain = () => showModels(page, models, installed);
  for (const model of models) remember(`model ${model.id}`, model.now, model.speed?.decode);
  const cards = sync(page.models, models, (model) => model.id, makeCard);
  const others = installed.filter((id) => !cards.has(id));
  sync(page.installed, others, (id) => id, makeRow);
  reveal(page["no-models"], !models.length);
  reveal(page.shelf, others.length);
  if (!cards.has(wanted)) return;
  if (document.activeElement === document.body) cards.get(wanted).takeFocus();
  wanted = null;
}

async function act(id, verb) {
  if (deeds.get(id)?.isDone === false) return;
  const deed = { verb, isDone: false, isRefused: false, reply: "" };
  deeds.set(id, deed);
  showAgain();
  try {
    await send("POST", `admin/${verb}`, { model: id });
    deed.reply = VERBS[verb].done;
    setTimeout(() => { deed.reply = ""; }, CONFIRMED_MS);
  } catch (error) {
    deed.reply = error.message;
    deed.isRefused = true;
  }
  deed.isDone = true;
  showAgain();
  onAsked();
}

// A button for a model. It is never disabled, as it would lose the focus.
function makeAction(id) {
  const label = make("span");
  const button = make("button", { type: "button" }, label, make("span", { class: "unseen" }, ` ${id}`));
  let current = null;
  button.addEventListener("click", (event) => {
    if (event.detail < 2) act(id, current); // a double click is not meant for the next label too
  });
  return {
    node: button,
    show(verb) {
      const deed = deeds.get(id), isBusy = deed?.isDone === false;
      current = verb;
      say(label, isBusy && deed.verb === verb ? VERBS[verb].busy : VERBS[verb].label);
      button.setAttribute("aria-disabled", String(isBusy));
    },
  };
}

function makeReply(id) {
  const node = make("p", { class: "reply", role: "status" });
  return {
    node,
    show() {
      const deed = deeds.get(id);
      say(node, deed?.reply);
      node.classList.toggle("refused", Boolean(deed?.isRefused));
    },
  };
}

function makeRow(id) {
  const load = makeAction(id), reply = makeReply(id);
  load.node.addEventListener("click", () => { wanted = id; });
  return {
    node: make("li", {}, make("span", { class: "name" }, id), load.node, reply.node),
    show() {
      load.show("load");
      reply.show();
    },
  };
}

function makeCard({ id }) {
  const words = make("span"), dot = make("span", { class: "dot", "aria-hidden": "true" });
  const trouble = make("p", { class: "trouble" });
  const progress = make("progress", { max: "1", "aria-label": "loaded so far" });
  const pin = makeAction(id), toggle = makeAction(id), reply = makeReply(id);
  const facts = make("dl", { class: "facts" }), latency = makeLatency(id), chart = makeChart();
  const actions = make("div", { class: "actions" }, pin.node, toggle.node);
  const top = make("div", { class: "top" }, make("h3", { class: "name" }, id), actions);
  const state = make("p", { class: "state" }, dot, words);
  const legend = make("span", { class: "quiet" }, "Tokens/s, last 2 minutes");
  const lines = make("div", { class: "drawn" }, legend, chart.node);
  const node = make("li", { class: "card model" }, top, state, progress, trouble, reply.node,
    facts, latency.node, lines);
  return {
    node,
    takeFocus: () => toggle.node.focus(),
    show(model) {
      const isOut = model.state === "stopped";
      node.dataset.state = isOut && model.trouble ? "trouble" : model.state;
      say(words, describeState(model));
      reveal(progress, model.state === "starting");
      progress.value = model.progress || 0;
      say(trouble, model.trouble);
      reveal(trouble, model.trouble);
      toggle.show(isOut ? "load" : "unload");
      pin.show(model.pinned ? "unpin" : "pin");
      reveal(pin.node, typeof model.pinned === "boolean");
      reply.show();
      sync(facts, describeFacts(model), (fact) => fact.label, makeFact);
      latency.show(model.figures);
      reveal(lines, traceOf(`model ${id}`).length);
      chart.show({ key: `model ${id}`, now: model.now });
    },
  };
}

function describeState({ state, progress, pinned, active, idle_s: idle, ttl_s: ttl }) {
  const word = state === "starting" ? joined("Loading", share(progress)) : STATES[state] ?? state;
  return joined(word, pinned && "pinned",
    state === "ready" && !active && idle >= 1 && `idle ${span(idle)}`,
    state === "ready" && !pinned && ttl > 0 && `unloads after ${span(ttl)} without use`);
}

function describeFacts({ state, active, waiting, config, memory_bytes: memory, speed, figures }) {
  const slots = config?.n_parallel;
  return [
    { label: "Running", text: isNumber(slots) ? `${count(active)} of ${slots}` : count(active) },
    { label: "Waiting", text: count(waiting) },
    { label: "Tokens/s", text: rate(speed?.decode) },
    { label: "Memory", text: state === "stopped" ? "" : size(memory) },
    { label: "Requests", text: count(figures.requests) },
    { label: "Answered", text: share(figures.success_rate) },
    { label: "Tokens out", text: count(figures.completion_tokens) },
    { label: "Reused", text: share(figures.cached_tokens / figures.prompt_tokens) },
  ];
}

function makeFact({ label }) {
  const text = make("dd");
  return {
    node: make("div", {}, make("dt", {}, label), text),
    show: (fact) => say(text, fact.text || "–"),
  };
}

function makeLatency(id) {
  const head = PERCENTILES.map((name) => make("th", { scope: "col" }, name));
  const rows = LATENCIES.map(([key, short, long]) => {
    const cells = PERCENTILES.map(() => make("td"));
    const label = make("th", { scope: "row" }, short, " ", make("span", { class: "quiet" }, long));
    return { key, cells, node: make("tr", {}, label, ...cells) };
  });
  return {
    node: make("table", { class: "latency" },
      make("caption", { class: "unseen" }, `Latency of ${id}`),
      make("thead", {}, make("tr", {}, make("td"), ...head)),
      make("tbody", {}, ...rows.map((row) => row.node))),
    show(figures) {
      for (const { key, cells } of rows) {
        PERCENTILES.forEach((name, i) => say(cells[i], milliseconds(figures[key]?.[name]) || "–"));
      }
    },
  };
}
