// What an operator may do to one machine: assign it, let it in, release its lease. Each answer is shown in words.

import * as api from "./api.js";
import { clock, h, table } from "./dom.js";

export const who = { name: "", role: "" }; // whose token this tab has
const targets = { clusters: [], pools: [] };

export const mayChange = () => who.role === "operator" || who.role === "admin";

export function aim(clusters, pools) {
  targets.clusters = clusters;
  targets.pools = pools;
}

// The buttons of a machine; null for who may only look.
export function actions(machine) {
  if (!mayChange()) return null;
  const told = h("div", { class: "told", role: "status" });
  return h("div", { class: "actions" },
    assignment(machine, told),
    h("div", { class: "buttons" },
      machine.admission === "waiting" ? sure("Admit", `Let it join ${machine.cluster}?`, () => admit(machine, told)) : null,
      machine.address ? sure("Release lease", "Forget who holds its address?", () => release(machine.address, told)) : null,
      machine.assignment ? sure("Back to the file", "End its run-time assignment?", () => unassign(machine, told)) : null),
    told);
}

function assignment(machine, told) {
  const target = h("select", { name: "target", required: true, "aria-label": "where to" },
    h("option", { value: "" }, "Assign to …"),
    group("Clusters", "cluster", targets.clusters), group("Pools", "pool", targets.pools));
  const name = h("input", { name: "name", placeholder: "new name (optional)", autocomplete: "off", spellcheck: false,
    "aria-label": "new name" });
  const drain = h("input", { type: "checkbox", name: "drain" });
  const send = (dryRun) => {
    if (!target.value) { say(told, "bad", "Choose where it shall go."); return; }
    const [kind, where] = [target.value.slice(0, target.value.indexOf(":")), target.value.slice(target.value.indexOf(":") + 1)];
    const body = { [kind]: where, drain: drain.checked, dry_run: dryRun };
    if (name.value.trim()) body.name = name.value.trim();
    attempt(told, async () => {
      const operation = await api.change("PUT", ["nodes", machine.macs[0], "assignment"], body);
      const words = dryRun ? `This would happen; nothing was changed.` : `Operation ${operation.id} is under way.`;
      say(told, "good", words, dryRun ? plan(operation) : h("a", { href: "#operations" }, "Show operations"));
    });
  };
  return h("form", { class: "assign", onsubmit: (event) => { event.preventDefault(); send(false); } },
    target, name, h("label", {}, drain, " drain first"),
    h("button", { type: "button", class: "dry", onclick: () => send(true) }, "Dry run"),
    h("button", { type: "submit", class: "go" }, "Assign"));
}

const group = (label, kind, names) => h("optgroup", { label }, names.map((name) => h("option", { value: `${kind}:${name}` }, name)));

function plan(operation) {
  return table(["step", "what"], operation.steps.map((line) => [line.step, line.text]), "There is nothing to do.");
}

async function admit(machine, told) {
  await attempt(told, async () => {
    await api.change("POST", ["nodes", machine.macs[0], "admission"], {});
    say(told, "good", "It is let in, and joins with its next boot.");
  });
}

async function unassign(machine, told) {
  await attempt(told, async () => {
    const operation = await api.change("DELETE", ["nodes", machine.macs[0], "assignment"]);
    say(told, "good", `Operation ${operation.id} is under way.`, h("a", { href: "#operations" }, "Show operations"));
  });
}

export async function release(address, told, force = false) {
  await attempt(told, async () => {
    await api.change("DELETE", ["leases", address], undefined, force ? "?force=true" : "");
    say(told, "good", `${address} is released.`);
  }, (error) => (error.status === 409 && !force
    ? sure("Release all the same", "Its machine may go on using it.", () => release(address, told, true)) : null));
}

export async function cancel(id, told) {
  await attempt(told, async () => {
    await api.change("DELETE", ["operations", id]);
    say(told, "good", "It is being rolled back.");
  });
}

// A button that asks once more, in its own place; the keyboard stays there.
export function sure(label, question, action) {
  const box = h("span", { class: "sure" });
  const reset = () => box.replaceChildren(h("button", { type: "button", onclick: ask }, label));
  const back = () => { reset(); box.firstElementChild.focus(); };
  const ask = () => {
    const yes = h("button", { type: "button", class: "danger", onclick: () => { back(); action(); } }, "Yes");
    box.replaceChildren(h("span", {}, question), yes, h("button", { type: "button", onclick: back }, "No"));
    yes.focus();
  };
  reset();
  return box;
}

export async function attempt(told, work, more = () => null) {
  say(told, "", `asked at ${clock(Date.now() / 1000)} …`);
  try {
    await work();
    document.dispatchEvent(new Event("changed"));
  } catch (error) {
    say(told, "bad", error.message, more(error));
  }
}

export function say(box, kind, words, more = null) {
  box.className = `told ${kind}`;
  box.replaceChildren(h("p", {}, words), ...(more ? [more] : []));
}
