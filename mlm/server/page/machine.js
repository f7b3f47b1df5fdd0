// The tiles: how the machine is doing, and what all models do together.

import { makeChart, remember } from "./chart.js";
import { make, say, sync } from "./nodes.js";
import { rateOf } from "./speed.js";
import { count, isNumber, joined, percent, rate, size, withWord } from "./words.js";

const sum = (items, read) => items.reduce((total, item) => total + (read(item) || 0), 0);

export function showMachine(parent, stats, now) {
  const tiles = [...describeSystem(stats), ...describeWork(stats, now)]
    .filter((tile) => tile.value !== undefined) // null is there, but not known at the moment
    .map((tile) => ({ ...tile, now }));
  for (const tile of tiles) remember(tile.key, now, tile.value);
  sync(parent, tiles, (tile) => tile.key, makeTile);
}

function describeSystem({ system, resident }) {
  const host = system.host ?? {}, total = host.memory_total, free = host.memory_available;
  const used = isNumber(total) && isNumber(free) ? total - free : null;
  const told = (value) => ("host" in system ? value ?? null : undefined);
  const models = sum(resident.filter((m) => m.state !== "stopped"), (m) => m.memory_bytes);
  const server = joined(percent(system.cpu_percent), size(system.rss_bytes));
  return [
    { key: "cpu", label: "CPU", value: told(host.cpu_percent), top: 100,
      figure: percent(host.cpu_percent),
      detail: joined(withWord(count(host.cores), "cores"), server && `server ${server}`) },
    { key: "memory", label: "Memory", value: told(used), top: total, figure: size(used),
      detail: joined(size(total) && `of ${size(total)}`, models > 0 && `models ${size(models)}`) },
    ...(system.gpus ?? []).map(describeGpu),
  ];
}

function describeGpu(gpu, index) {
  const busy = gpu.utilisation_percent, used = gpu.memory_used, total = gpu.memory_total;
  const memory = size(used) && `${size(used)} of ${size(total) || "?"}`;
  const isMeasured = isNumber(busy);
  return {
    key: `gpu ${index}`,
    label: joined(`GPU ${index}`, gpu.name),
    value: isMeasured ? busy : used ?? null,
    top: isMeasured ? 100 : total,
    figure: isMeasured ? percent(busy) : memory,
    detail: joined(isMeasured && memory, withWord(count(gpu.power_w), "W"),
                   withWord(count(gpu.temperature_c), "°C")),
  };
}

function describeWork({ resident, figures, cache }, now) {
  const speeds = resident.map((model) => model.speed).filter(Boolean);
  const decode = sum(speeds, (speed) => speed.decode);
  const waiting = sum(resident, (model) => model.waiting);
  const requests = rateOf(sum(figures, (model) => model.requests), now);
  const saved = cache.hits + (cache.shared || 0), hits = cache.hit_rate;
  const hitPercent = isNumber(hits) ? hits * 100 : hits;
  return [
    { key: "decode", label: "Answers", value: decode, figure: withWord(rate(decode), "tok/s"),
      detail: `prompts ${withWord(rate(sum(speeds, (speed) => speed.prefill)), "tok/s")}` },
    { key: "requests", label: "Requests", value: requests, figure: withWord(rate(requests), "/s"),
      detail: "of the last 10 s" },
    { key: "queue", label: "Queue", value: waiting, figure: withWord(count(waiting), "waiting"),
      detail: withWord(count(sum(resident, (model) => model.active)), "running") },
    { key: "cache", label: "Response cache", value: hitPercent, top: 100,
      figure: percent(hitPercent),
      detail: joined(`${count(saved)} of ${count(saved + cache.misses)}`, size(cache.bytes)) },
  ];
}

function makeTile() {
  const label = make("dt"), figure = make("dd", { class: "figure" });
  const detail = make("dd", { class: "quiet" }), chart = makeChart();
  const drawn = make("dd", { class: "drawn", "aria-hidden": "true" }, chart.node);
  return {
    node: make("div", { class: "card tile" }, label, figure, detail, drawn),
    show(tile) {
      say(label, tile.label);
      say(figure, tile.figure || "–");
      say(detail, tile.detail);
      chart.show(tile);
    },
  };
}
