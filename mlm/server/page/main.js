// The dashboard of one server: asks GET /admin/stats every second while somebody looks, and shows
// what it says. There is one loop, so there is never more than one question on its way.

import { read, Refusal, send, Silence } from "./ask.js";
import { showMachine } from "./machine.js";
import { showModels, whenAsked } from "./models.js";
import { reveal, say } from "./nodes.js";
import { showRequests } from "./requests.js";
import { speedOf } from "./speed.js";
import { joined, span, timeOfDay } from "./words.js";

const POLL_MS = 1000, LONGEST_WAIT_MS = 15_000;
const SHELF_MS = 10_000; // installed models are asked for less often: that looks on the disk

const page = Object.fromEntries(
  [...document.querySelectorAll("[id]")].map((node) => [node.id, node]));
const objects = (list) => (Array.isArray(list) ? list.filter((item) => item instanceof Object) : []);

let installed = [], shelfDueAt = 0, answeredAt = null;
let wake = () => {};

async function watch() {
  for (let failures = 0; ;) {
    await untilVisible();
    const startedAt = Date.now();
    try {
      const stats = await read("admin/stats");
      if (Date.now() >= shelfDueAt) await readShelf();
      showAnswer(stats);
      failures = 0;
      await pause(POLL_MS - (Date.now() - startedAt));
    } catch (error) {
      if (error.status === 401) {
        await untilSignedIn();
        continue;
      }
      showTrouble(error);
      await countDown(Math.min(POLL_MS * 2 ** failures, LONGEST_WAIT_MS));
      failures += 1;
    }
  }
}

function showAnswer(stats) {
  const now = performance.now() / 1000;
  const figures = objects(stats.models);
  const byModel = new Map(figures.map((model) => [String(model.model), model]));
  const resident = objects(stats.resident).map((model) => {
    const id = String(model.model);
    return { ...model, id, now, figures: byModel.get(id) ?? {}, speed: speedOf(id, model.work) };
  });
  const system = stats.system ?? {}, cache = stats.response_cache ?? {};
  showMachine(page.tiles, { system, resident, figures, cache }, now);
  showModels(page, resident, installed);
  showRequests(page, objects(stats.recent));
  reveal(page["sign-out"], stats.needs_key); // that it answers us is due to a session
  say(page.version, stats.mlm_version);
  say(page.uptime, joined(system.uptime_s > 0 && `up ${span(system.uptime_s)}`));
  answeredAt = new Date();
  setState("live", "Live");
}

async function readShelf() {
  shelfDueAt = Date.now() + SHELF_MS;
  try {
    installed = objects((await read("v1/models")).data).map((model) => String(model.id));
  } catch (error) {
    if (!(error instanceof Refusal) || error.status === 401) throw error; // the list stays
  }
}

function setState(name, text) {
  document.body.dataset.state = name;
  document.title = name === "gone" ? "✕ mlm" : "mlm";
  say(page.state, text);
  say(page.retry, "");
  reveal(page.main, name !== "locked" && answeredAt !== null);
  reveal(page.again, name === "gone");
  reveal(page["sign-in"], name === "locked");
}

function showTrouble(error) {
  const isForeseen = error instanceof Refusal || error instanceof Silence;
  if (!isForeseen) console.error(error);
  const what = isForeseen ? error.message : "This page does not understand the server";
  setState("gone", joined(what, answeredAt && `figures of ${timeOfDay(answeredAt)}`));
}

async function untilVisible() {
  while (document.hidden) {
    await new Promise((done) => document.addEventListener("visibilitychange", done, { once: true }));
  }
}

// Resolves to whether something has ended it before its time.
function pause(ms) {
  return new Promise((done) => {
    const timer = setTimeout(() => done(false), ms);
    wake = () => {
      clearTimeout(timer);
      done(true);
    };
  });
}

async function countDown(ms) {
  for (let left = ms; left > 0; left -= 1000) {
    say(page.retry, `Trying again in ${Math.ceil(left / 1000)} s.`);
    if (await pause(Math.min(left, 1000))) break;
  }
  say(page.retry, "Trying …");
}

function untilSignedIn() {
  setState("locked", "Sign in to see how it is doing.");
  page.key.focus();
  return new Promise((done) => { wake = done; });
}

page["sign-in"].addEventListener("submit", async (event) => {
  event.preventDefault();
  const key = page.key.value;
  page.key.value = ""; // from here on the cookie stands for it
  say(page["sign-in-reply"], "");
  try {
    await send("POST", "admin/session", { key });
    wake();
  } catch (error) {
    say(page["sign-in-reply"], error.message);
    page.key.focus();
  }
});

page["sign-out"].addEventListener("click", async () => {
  await send("DELETE", "admin/session").catch(() => {});
  location.reload(); // nothing of what was shown stays
});

page.again.addEventListener("click", () => wake());
document.addEventListener("visibilitychange", () => wake());
whenAsked(() => {
  shelfDueAt = 0;
  wake();
});

watch();
