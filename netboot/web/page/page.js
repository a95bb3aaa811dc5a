// The page of the appliance: who is here, which tab is shown, and the live stream that keeps it true.

import * as api from "./page/api.js";
import { aim, who } from "./page/actions.js";
import * as alarms from "./page/alarms.js";
import { at, h, write } from "./page/dom.js";
import * as machines from "./page/machines.js";
import { PANELS, forget, ill, note, recall } from "./page/panels.js";

let generation = 0; // grows when the token changes: what an older one started ends by itself
let shown = "machines";

async function load() {
  const [clusters, pools] = await Promise.all([api.list("clusters"), api.list("pools")]);
  aim(clusters.map((cluster) => cluster.name), pools.map((pool) => pool.name));
  const sick = clusters.filter(ill).length;
  at("ill").hidden = sick === 0;
  write(at("ill"), String(sick));
  await alarms.load();
  await machines.load();
  count();
}

function take(kind, value) {
  if (kind === "note") {
    note(value);
    if (WEIGHTY.test(value.kind)) later(load, 500);
  }
  else if (machines.take(value)) later(load, 1000); // somebody new
  later(redraw, 200);
}

// Events after which names, operations or admissions are not what they were.
const WEIGHTY = /^(token_misused|impostor|name_released|operation|admi)/;

const waiting = new Set();
function later(work, delay) {
  if (waiting.has(work)) return;
  waiting.add(work);
  setTimeout(async () => {
    waiting.delete(work);
    try { await work(); } catch (error) { trouble(error); }
  }, delay);
}

function redraw() {
  count();
  if (shown === "machines") machines.draw();
  if (shown === "events") return panel();
  return undefined;
}

function count() {
  for (const word of ["booting", "joined", "stopped"]) write(at(word), String(machines.count(word)));
}

// Draw the tab that is shown, unless somebody is asked something in it; the keyboard stays where it was.
async function panel() {
  const mine = generation;
  const name = shown;
  if (name === "machines") { machines.draw(); return; }
  if (at("panel").dataset.name === name && at("panel").querySelector(".danger")) return;
  try {
    const parts = await PANELS[name]();
    if (mine !== generation || name !== shown) return;
    const opened = new Map([...at("panel").querySelectorAll("details")].map((one) => [one.dataset.id, one.open]));
    const focused = at("panel").contains(document.activeElement) ? spot(document.activeElement) : null;
    at("panel").dataset.name = name;
    at("panel").replaceChildren(...parts.filter(Boolean));
    for (const one of at("panel").querySelectorAll("details")) one.open = opened.get(one.dataset.id) ?? one.open;
    if (focused) [...at("panel").querySelectorAll("button, summary")].find((one) => spot(one) === focused)?.focus();
  } catch (error) {
    trouble(error);
    at("panel").replaceChildren(h("p", { class: "cause" }, error.message));
  }
}

// Where the keyboard is, in words that hold when the same thing is drawn anew.
const spot = (element) => [
  element.tagName, element.closest("[data-id]")?.dataset.id, element.tagName === "BUTTON" ? element.textContent : "",
  element.closest("tr")?.firstChild.textContent,
].join(" ");

function route() {
  const wanted = location.hash.slice(1);
  shown = wanted in PANELS ? wanted : "machines";
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${shown}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  at("machines").hidden = shown !== "machines";
  at("panel").hidden = shown === "machines";
  at("panel").replaceChildren();
  at("told").replaceChildren();
  if (!at("inside").hidden) panel();
}

function tell(kind, words) {
  at("link").className = `link ${kind}`;
  write(at("link"), words);
}

function trouble(error) {
  if (error instanceof api.Refused && error.status === 401) leave(error.message);
}

async function run() {
  const mine = ++generation;
  while (mine === generation) {
    try {
      await enter();
      if (mine !== generation) return;
      await api.follow(async () => { await Promise.all([load(), recall()]); tell("live", "live"); }, take, () => mine === generation);
    } catch (error) {
      if (mine !== generation) return;
      if (error instanceof api.Refused && [401, 429].includes(error.status)) { leave(error.message); return; }
      tell("lost", "connection lost, trying again");
    }
    await new Promise((resolve) => { setTimeout(resolve, 2000); });
  }
}

async function enter() {
  Object.assign(who, await api.get("self"));
  write(at("who"), `${who.name} · ${who.role}`);
  at("audit-tab").hidden = who.role !== "admin";
  const first = at("inside").hidden;
  at("door").hidden = true;
  for (const id of ["inside", "tabs", "account"]) at(id).hidden = false;
  if (first) route();
}

function leave(refusal) {
  generation += 1;
  api.token.forget();
  machines.clear();
  alarms.clear();
  forget();
  at("panel").replaceChildren();
  at("told").replaceChildren();
  for (const id of ["inside", "tabs", "account"]) at(id).hidden = true;
  at("door").hidden = false;
  write(at("refusal"), refusal);
  tell("", "not connected");
  at("token").focus();
}

at("door").addEventListener("submit", (event) => {
  event.preventDefault();
  api.token.set(at("token").value.trim());
  at("token").value = "";
  write(at("refusal"), "");
  run();
});
at("leave").addEventListener("click", () => leave(""));
at("filter").addEventListener("input", machines.draw);
for (const button of document.querySelectorAll("[data-state]")) {
  button.addEventListener("click", () => {
    const chosen = machines.choose(button.dataset.state);
    for (const each of document.querySelectorAll("[data-state]")) each.setAttribute("aria-pressed", String(each.dataset.state === chosen));
  });
}
window.addEventListener("hashchange", route);
document.addEventListener("changed", () => { later(load, 0); later(panel, 0); });
setInterval(() => { if (!at("inside").hidden && shown === "machines") machines.draw(); }, 1000);
setInterval(() => { if (!at("inside").hidden && shown === "operations") panel(); }, 2000);
setInterval(() => { if (!at("inside").hidden && shown !== "operations") later(shown === "machines" ? load : panel, 0); }, 15000);
if (api.token.get()) run();
