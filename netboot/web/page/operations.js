// Reassignments under way and past: how far each is, what it waits for, and its timeline.

import * as api from "./api.js";
import { cancel, mayChange, sure } from "./actions.js";
import { ago, at, clock, duration, h, lasted, pill, steps, table } from "./dom.js";

const STEPS = ["check", "assign", "cordon", "drain", "revoke", "power", "boot", "ready", "delete", "finish"];

export async function operations() {
  const found = await api.list("operations");
  return [found.length ? h("div", { class: "list" }, found.map(operation)) : h("p", { class: "empty" }, "No operation was started yet.")];
}

export const moves = (one) => (one.source.cluster === one.target.cluster ? `stays in ${one.target.cluster}` : `${one.source.cluster} → ${one.target.cluster}`);

function operation(one) {
  const box = h("details", { class: "tile operation", open: !one.ended },
    h("summary", {}, pill(one.state), h("strong", {}, one.machine), h("span", {}, moves(one)), h("span", { class: "faint" }, since(one))),
    line(one),
    one.reason ? h("p", { class: one.ended ? "cause" : "note" }, one.reason) : null,
    one.left ? h("p", { class: "cause" }, `Left to do by hand: ${one.left}`) : null,
    h("p", { class: "caption" }, `operation ${one.id}${one.by ? `, asked for by ${one.by}` : ""}${one.drain ? ", drains first" : ""}`),
    table(["at", "step", "what"], one.steps.map((each) => [clock(each.at), each.step, each.text]), "No step was taken yet."),
    mayChange() && one.state === "running" ? sure("Roll back", "Return it to where it was?", () => cancel(one.id, at("told"))) : null);
  box.dataset.id = one.id;
  return box;
}

function since(one) {
  if (one.ended) return `${ago(one.ended)}, took ${duration(one.ended - one.started)}`;
  const began = one.steps.find((each) => each.step === one.step)?.at ?? one.steps.at(-1)?.at ?? one.started;
  return `at ${one.step} for ${lasted(began)}`;
}

// Its steps as a line; one that is rolled back shows how far it came.
function line(one) {
  const reached = new Set(one.steps.map((each) => each.step));
  const furthest = STEPS.includes(one.step) ? STEPS.indexOf(one.step) : Math.max(...STEPS.map((step, place) => (reached.has(step) ? place : -1)));
  const back = one.state.startsWith("roll");
  return steps(STEPS, one.state === "done" ? "all" : STEPS[furthest], (step, place) => {
    if (one.state === "done") return reached.has(step) ? "done" : "passed";
    if (place === furthest) return back ? "failed" : "now";
    if (place > furthest) return "";
    return reached.has(step) && !back ? "done" : "passed";
  });
}
