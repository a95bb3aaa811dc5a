// The status page: boots with their timelines, live. All text goes in by textContent, never as markup.
"use strict";

const STEPS = ["discover", "offer", "ack", "program", "script", "kernel", "initrd", "seed", "claim", "squashfs",
  "config", "network_script", "join", "registered", "ready"];
const SHOWN = 200;
const KEY = "netboot.token";
const at = (id) => document.getElementById(id);
const boots = new Map();
const open = new Set();
const cards = new Map();
let generation = 0; // grows when the token changes: what an older one started ends by itself

class Unauthorized extends Error {}

async function ask(path, signal, accept) {
  const headers = { Authorization: `Bearer ${sessionStorage.getItem(KEY)}`, Accept: accept };
  const answer = await fetch(path, { headers, signal, cache: "no-store", credentials: "omit" });
  if (answer.status === 401) throw new Unauthorized("This token is not known here.");
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer;
}

async function load() {
  const answer = await ask(`/api/v1/boots?limit=${SHOWN}`, AbortSignal.timeout(15000), "application/json");
  boots.clear();
  for (const boot of (await answer.json()).items) boots.set(boot.id, boot);
  draw();
}

async function follow(mine) {
  const stop = new AbortController();
  const answer = await ask("/api/v1/events", stop.signal, "text/event-stream");
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  await load(); // after the stream was opened: nothing falls between
  tell("live", "live");
  let rest = "";
  try {
    while (mine === generation) {
      const { value, done } = await silence(reader.read(), 60000);
      if (done) return;
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      blocks.forEach(take);
    }
  } finally {
    stop.abort();
  }
}

function silence(promise, limit) {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error("no sign of life")), limit); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

function take(block) {
  const lines = block.split("\n");
  if (!lines.includes("event: boot")) return;
  const data = lines.find((line) => line.startsWith("data: "));
  const boot = JSON.parse(data.slice(6));
  boots.set(boot.id, boot);
  soon();
}

let waiting = false;
function soon() {
  if (waiting) return;
  waiting = true;
  setTimeout(() => { waiting = false; draw(); }, 200);
}

function draw() {
  const wanted = at("filter").value.trim().toLowerCase();
  const newest = [...boots.values()].sort((a, b) => b.started - a.started);
  for (const old of newest.splice(SHOWN)) boots.delete(old.id);
  for (const state of ["booting", "joined", "stopped"]) {
    at(state).textContent = newest.filter((boot) => boot.state === state).length;
  }
  const shown = newest.filter((boot) => `${boot.node} ${boot.mac} ${boot.cluster} ${boot.state} ${boot.id}`
    .toLowerCase().includes(wanted));
  const list = at("boots");
  const kept = new Set(shown.map((boot) => boot.id));
  for (const [id, card] of cards) if (!kept.has(id)) { card.remove(); cards.delete(id); }
  shown.forEach((boot, place) => {
    if (!cards.has(boot.id)) cards.set(boot.id, make(boot.id));
    const card = cards.get(boot.id);
    if (list.children[place] !== card) list.insertBefore(card, list.children[place] || null);
    fill(card, boot);
  });
  at("empty").hidden = newest.length > 0;
}

function make(id) {
  const card = at("card").content.firstElementChild.cloneNode(true);
  for (const step of STEPS) {
    const item = document.createElement("li");
    item.textContent = step.replace("_script", "");
    item.title = step;
    card.querySelector(".line").append(item);
  }
  card.querySelector(".head").addEventListener("click", () => {
    if (!open.delete(id)) open.add(id);
    fill(card, boots.get(id));
  });
  return card;
}

function fill(card, boot) {
  const last = boot.steps.length ? boot.steps[boot.steps.length - 1] : { step: "", at: boot.started };
  const end = boot.ended ?? (boot.state === "booting" ? Date.now() / 1000 : last.at);
  card.className = boot.state;
  text(card, ".pill", boot.state);
  text(card, ".node", boot.node);
  text(card, ".mac", boot.mac);
  text(card, ".where", [boot.cluster, boot.image].filter(Boolean).join(" / "));
  text(card, ".when", new Date(boot.started * 1000).toLocaleString());
  text(card, ".took", duration(end - boot.started));
  line(card.querySelectorAll(".line li"), boot, last);
  progress(card.querySelector(".progress"), boot, last);
  const cause = card.querySelector(".cause");
  cause.hidden = !boot.cause;
  cause.textContent = boot.cause ? `stopped at ${boot.stopped_at}: ${boot.cause}` : "";
  const table = card.querySelector("table");
  table.hidden = !open.has(boot.id);
  card.querySelector(".head").setAttribute("aria-expanded", String(!table.hidden));
  if (!table.hidden) table.tBodies[0].replaceChildren(...boot.steps.map((step) => row(step, boot.started)));
}

function line(items, boot, last) {
  const reached = new Set(boot.steps.map((step) => step.step));
  STEPS.forEach((step, place) => {
    let word = reached.has(step) ? "done" : "";
    if (boot.state === "booting" && step === last.step) word = "now";
    if (boot.state === "stopped" && step === boot.stopped_at) word = "failed";
    items[place].className = word;
  });
}

function progress(box, boot, last) {
  box.hidden = boot.state !== "booting" || !last.of || last.bytes === null;
  if (box.hidden) return;
  box.firstElementChild.max = last.of;
  box.firstElementChild.value = last.bytes;
  box.lastElementChild.textContent = `${last.step} ${Math.floor((100 * last.bytes) / last.of)} % of ${size(last.of)}`;
}

function row(step, started) {
  const cells = [step.step, `+${duration(step.at - started)}`, bytes(step), step.detail];
  const line = document.createElement("tr");
  for (const cell of cells) line.insertCell().textContent = cell;
  return line;
}

function text(card, selector, value) {
  const element = card.querySelector(selector);
  if (element.textContent !== value) element.textContent = value;
}

function bytes(step) {
  if (step.bytes === null) return "";
  return step.of ? `${size(step.bytes)} of ${size(step.of)}` : size(step.bytes);
}

function size(count) {
  return count < 1048576 ? `${(count / 1024).toFixed(1)} KiB` : `${(count / 1048576).toFixed(1)} MiB`;
}

function duration(seconds) {
  const whole = Math.max(0, seconds);
  if (whole < 60) return `${whole.toFixed(1)} s`;
  return `${Math.floor(whole / 60)} min ${Math.floor(whole % 60)} s`;
}

function tell(kind, words) {
  at("link").className = `link ${kind}`;
  at("link").textContent = words;
}

function show(inside) {
  for (const id of ["counts", "filter", "leave", "boots"]) at(id).hidden = !inside;
  at("door").hidden = inside;
  if (!inside) { at("empty").hidden = true; tell("", "not connected"); }
}

async function run() {
  const mine = ++generation;
  show(true);
  while (mine === generation) {
    try {
      await follow(mine);
    } catch (error) {
      if (mine !== generation) return;
      if (error instanceof Unauthorized) return leave(error.message);
      tell("lost", "connection lost, trying again");
    }
    await new Promise((resolve) => { setTimeout(resolve, 2000); });
  }
}

function leave(refusal) {
  generation += 1;
  sessionStorage.removeItem(KEY);
  boots.clear();
  draw();
  show(false);
  at("refusal").textContent = refusal;
}

at("door").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, at("token").value.trim());
  at("token").value = "";
  at("refusal").textContent = "";
  run();
});
at("leave").addEventListener("click", () => leave(""));
at("filter").addEventListener("input", draw);
setInterval(() => { if (!at("boots").hidden) draw(); }, 1000);
if (sessionStorage.getItem(KEY)) run();
