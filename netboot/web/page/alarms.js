// Names that are held because a token was misused: an alarm above every tab until somebody lets them go.

import * as api from "./api.js";
import { attempt, mayChange, say, sure } from "./actions.js";
import { at, h } from "./dom.js";

let holds = [];

export const held = (name) => holds.filter((hold) => hold.node === name);

export async function load() {
  draw(await api.list("holds"));
}

export function clear() {
  draw([]);
}

// Drawn anew only when it changes: somebody may be about to press a button of it.
function draw(found) {
  if (JSON.stringify(found) === JSON.stringify(holds)) return;
  holds = [...found];
  at("alarms").replaceChildren(...[...new Set(holds.map((hold) => hold.node))].map(alarm));
}

function alarm(name) {
  const why = held(name).map((hold) => h("p", {}, `${hold.why} (token ${hold.token} of ${hold.mac} in ${hold.cluster})`));
  return h("div", { class: "alarm" },
    h("p", {}, h("strong", {}, `The name ${name} is held: it gets no credential.`)), why,
    mayChange()
      ? sure(`Release ${name}`, "Look first who had its token. May it join again?", () => release(name))
      : h("p", {}, "An operator can release it."));
}

async function release(name) {
  const told = at("told");
  await attempt(told, async () => {
    await api.change("DELETE", ["holds", name]);
    await load();
    say(told, "good", `${name} is held no longer: its next boot may join.`);
  });
}
