// The machines: where each one's newest boot stands, why it stopped, its timeline, its earlier boots.

import * as api from "./api.js";
import { actions } from "./actions.js";
import { held } from "./alarms.js";
import { ago, at, clock, duration, facts, h, moment, size, table, write } from "./dom.js";
import { moves } from "./operations.js";

const STEPS = ["discover", "offer", "ack", "program", "script", "kernel", "initrd", "seed", "claim", "squashfs",
  "config", "network_script", "join", "registered", "ready"];
const RANK = { stopped: 0, booting: 1, joined: 2, silent: 3 };
const SHOWN = 200;
const KNOWN = 2000;

const machines = new Map();
const cards = new Map();
const operations = new Map(); // those under way, by a MAC of their machine
let beyond = 0; // machines that we did not ask for: too many
let chosen = ""; // the state that a counter at the top chose

export const state = (machine) => machine.boot?.state ?? "silent";
export const count = (word) => [...machines.values()].filter((machine) => state(machine) === word).length;

export function clear() {
  machines.clear();
  for (const card of cards.values()) card.remove();
  cards.clear();
  operations.clear();
  chosen = "";
}

export async function load() {
  const found = await api.list("nodes", `?limit=${KNOWN}`);
  beyond = found.total - found.length;
  const boots = await api.list("boots", "?limit=500");
  const underWay = (await api.list("operations")).filter((one) => !one.ended);
  operations.clear();
  for (const one of underWay) for (const mac of one.macs) operations.set(mac, one);
  const unheard = new Set(machines.keys());
  for (const machine of found) { machines.set(machine.name, machine); unheard.delete(machine.name); }
  for (const name of unheard) machines.delete(name);
  for (const boot of boots.reverse()) if (!machines.has(boot.node)) take(boot);
  draw();
}

// A boot's newest state, from the stream. True where its machine was not known yet.
export function take(boot) {
  const known = machines.get(boot.node);
  if (known && known.boot && known.boot.id !== boot.id && known.boot.started > boot.started) return false;
  machines.set(boot.node, { ...(known ?? stranger(boot)), boot });
  return !known;
}

const stranger = (boot) => ({
  name: boot.node, macs: [boot.mac], cluster: boot.cluster, declared: false, address: null, pool: null,
});

export function choose(word) {
  chosen = chosen === word ? "" : word;
  draw();
  return chosen;
}

export function draw() {
  const words = at("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const found = [...machines.values()].filter((machine) => wanted(machine, words));
  found.sort((a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name, undefined, { numeric: true }));
  const shown = found.slice(0, SHOWN);
  const kept = new Set(shown.map((machine) => machine.name));
  for (const [name, card] of cards) if (!kept.has(name)) { card.remove(); cards.delete(name); }
  const box = at("cards");
  shown.forEach((machine, place) => {
    if (!cards.has(machine.name)) cards.set(machine.name, make(machine.name));
    const card = cards.get(machine.name);
    if (box.children[place] !== card) box.insertBefore(card, box.children[place] || null);
    fill(card, machine);
  });
  at("nobody").hidden = found.length > 0;
  write(at("nobody"), machines.size ? "No machine is like that." : "No machine is declared, and none has asked for a boot yet.");
  const cut = found.length > SHOWN ? `${found.length - SHOWN} more: narrow the filter to see them. ` : "";
  const rest = beyond ? `${beyond} further machines are not looked at here: ask \`netboot node list\`.` : "";
  at("more").hidden = !cut && !rest;
  write(at("more"), cut + rest);
}

const rank = (machine) => (held(machine.name).length ? -1 : RANK[state(machine)]);

function wanted(machine, words) {
  if (chosen && state(machine) !== chosen) return false;
  const text = [machine.name, ...machine.macs, machine.address, machine.cluster, machine.pool, state(machine), machine.admission,
    machine.boot?.stopped_at, machine.boot?.id, ...notes(machine).map(([, text]) => text)].join(" ").toLowerCase();
  return words.every((word) => text.includes(word));
}

function make(name) {
  const card = at("card").content.firstElementChild.cloneNode(true);
  card.querySelector(".line").append(...STEPS.map((step) => h("li", { title: step }, step.replace("_script", ""))));
  card.querySelector(".head").addEventListener("click", () => toggle(card, name));
  return card;
}

function fill(card, machine) {
  const boot = machine.boot;
  const last = boot?.steps.at(-1);
  const open = card.classList.contains("open");
  card.className = ["card", state(machine), held(machine.name).length ? "held" : "", open ? "open" : ""].filter(Boolean).join(" ");
  write(card.querySelector(".pill"), boot ? boot.state : "no boot");
  write(card.querySelector(".name"), machine.name);
  write(card.querySelector(".where"), [machine.cluster, machine.pool].filter(Boolean).join(" · "));
  write(card.querySelector(".address"), machine.address ?? machine.macs[0]);
  write(card.querySelector(".when"), when(boot, last));
  card.querySelector(".line").hidden = !boot;
  if (boot) line(card.querySelector(".line"), boot, last);
  progress(card.querySelector(".progress"), boot, last);
  const cause = card.querySelector(".cause");
  cause.hidden = !boot?.cause;
  write(cause, boot?.cause ? `Stopped at ${boot.stopped_at}: ${boot.cause}` : "");
  remark(card.querySelector(".notes"), notes(machine));
  const steps = card.querySelector(".steps");
  if (open && steps && boot && steps.dataset.boot === boot.id) steps.replaceChildren(timeline(boot));
}

// What else an operator has to know of it, the worst first: how bad it is, and the words.
function notes(machine) {
  const { boot, assignment, drift } = machine;
  const last = boot?.steps.at(-1);
  const operation = machine.macs.map((mac) => operations.get(mac)).find(Boolean);
  const waits = operation?.reason ? `: ${operation.reason}` : "";
  return [
    ...held(machine.name).map((hold) => ["cause", `Its name is held, so it gets no credential: ${hold.why}`]),
    assignment?.broken && ["cause", `Its assignment does not count: ${assignment.broken}`],
    machine.admission === "waiting" && ["note", "It waits for admission: nobody declared it."],
    boot?.state === "booting" && last?.detail && ["note", `At ${last.step}: ${last.detail}`],
    operation && ["note", `It moves (${moves(operation)}), at ${operation.step}${waits}`],
    drift?.length && ["note", `Its Node object differs from the file: ${drift.join("; ")}`],
  ].filter(Boolean);
}

function remark(box, found) {
  const words = JSON.stringify(found);
  if (box.dataset.words === words) return;
  box.dataset.words = words;
  box.replaceChildren(...found.map(([kind, text]) => h("p", { class: kind }, text)));
}

function when(boot, last) {
  if (!boot) return "";
  if (boot.state === "booting") return `${last ? last.step : "began"}, ${duration(Date.now() / 1000 - boot.started)}`;
  const end = boot.ended ?? last?.at ?? boot.started;
  return boot.state === "joined" ? `in ${duration(end - boot.started)}, ${ago(end)}` : ago(end);
}

function line(list, boot, last) {
  const items = list.children;
  const where = boot.state === "joined" ? "all done" : boot.stopped_at ?? last?.step ?? "none yet";
  list.setAttribute("aria-label", `steps of the boot: ${where}`);
  const reached = new Set(boot.steps.map((step) => step.step));
  const furthest = last ? STEPS.indexOf(last.step) : 0;
  STEPS.forEach((step, place) => {
    let word = reached.has(step) ? "done" : place < furthest ? "passed" : "";
    if (boot.state === "booting" && step === last?.step) word = "now";
    if (boot.state === "stopped" && step === boot.stopped_at) word = "failed";
    items[place].className = word;
  });
}

function progress(box, boot, last) {
  box.hidden = boot?.state !== "booting" || !last?.of || last.bytes === null;
  if (box.hidden) return;
  box.firstElementChild.max = last.of;
  box.firstElementChild.value = last.bytes;
  write(box.lastElementChild, `${last.step} ${Math.floor((100 * last.bytes) / last.of)} % of ${size(last.of)}`);
}

function toggle(card, name) {
  const open = card.classList.toggle("open");
  card.querySelector(".head").setAttribute("aria-expanded", String(open));
  card.querySelector(".detail")?.remove();
  if (open) card.append(detail(machines.get(name)));
}

function detail(machine) {
  const steps = h("div", { class: "steps" });
  const earlier = h("div", { class: "earlier" });
  const pick = (boot) => {
    steps.dataset.boot = boot.id;
    steps.replaceChildren(timeline(boot));
  };
  if (machine.boot) pick(machine.boot);
  else steps.append(h("p", { class: "empty" }, "It has not asked for a boot yet."));
  history(machine.name, earlier, pick);
  return h("div", { class: "detail" },
    facts([["address", machine.address], ["cards", machine.macs], ["network", machine.network],
      ["image", machine.image], ["why here", machine.reason], ["assigned", assigned(machine.assignment)],
      ["Node object", node(machine.drift)]]),
    steps, earlier, actions(machine));
}

function node(drift) {
  if (!drift) return ""; // nobody watches it
  return drift.length ? "not as the file says" : "as the file says";
}

function assigned(assignment) {
  if (!assignment) return "";
  const where = assignment.pool ? `pool ${assignment.pool}` : assignment.cluster ? `cluster ${assignment.cluster}` : "on its way back to the file";
  return [`${where}, ${ago(assignment.since)}`, assignment.broken, ...assignment.drift].filter(Boolean).join("; ");
}

function timeline(boot) {
  const rows = boot.steps.map((step) => [step.step, clock(step.at), `+${duration(step.at - boot.started)}`, [bytes(step), step.detail].filter(Boolean)]);
  const title = h("p", { class: "caption" }, `Boot ${boot.id} of ${moment(boot.started)}`,
    boot.generation ? `, ${boot.image} ${boot.generation.slice(0, 12)}` : "");
  return h("div", {}, title, table(["step", "at", "after", "detail"], rows, "No step was reached."),
    boot.quirks.length ? h("p", { class: "caption" }, `quirks: ${boot.quirks.join(", ")}`) : null);
}

function bytes(step) {
  if (step.bytes === null) return "";
  return step.of ? `${size(step.bytes)} of ${size(step.of)}` : size(step.bytes);
}

async function history(name, box, pick) {
  const boots = await api.list("boots", `?node=${encodeURIComponent(name)}`).catch(() => []);
  if (boots.length < 2) return;
  box.append(h("span", { class: "caption" }, "Boots:"), ...boots.map((boot) => h("button", {
    type: "button", class: `mark ${boot.state}`, title: `${boot.state}, ${moment(boot.started)}`, onclick: () => pick(boot),
  }, clock(boot.started))));
}
