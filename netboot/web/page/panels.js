// The other tabs: clusters, addresses, operations, events, and the audit. Each asks anew when it is shown.

import * as api from "./api.js";
import { cancel, mayChange, release, sure } from "./actions.js";
import { ago, clock, duration, h, moment, pill, table } from "./dom.js";

const notes = [];
const NOTES = 300;

// What happened before the stream was opened.
export async function recall() {
  notes.splice(0, notes.length, ...await api.list("events", "?limit=200"));
}

// An event of the stream; the newest stands first.
export function note(event) {
  if (notes.length && event.number <= notes[0].number) return; // the list had it already
  notes.unshift(event);
  notes.length = Math.min(notes.length, NOTES);
}

const plain = (text) => h("span", { class: "mono nowrap" }, text);

export const forget = () => { notes.length = 0; };

export const PANELS = { clusters, addresses, operations, events, audit };

async function clusters() {
  const found = await api.list("clusters");
  const images = await api.list("images");
  return [
    h("div", { class: "grid" }, found.map(cluster)),
    found.length ? null : h("p", { class: "empty" }, "No cluster is declared."),
    h("h2", {}, "Images"),
    table(["image", "generation", "made", "size", ""], images.map((image) => [
      image.name, image.generation?.slice(0, 12), image.created, image.size ? `${(image.size / 1048576).toFixed(0)} MiB` : "",
      image.problem ?? "",
    ]), "No image is in images_dir."),
  ];
}

function cluster(one) {
  const well = !one.problem;
  return h("article", { class: `tile ${well ? "well" : "ill"}` },
    h("h3", {}, one.name, pill(one.join.method === "none" ? "no join" : well ? "healthy" : "problem")),
    h("p", { class: "mono" }, one.endpoint),
    h("p", {}, `pools: ${one.pools.join(", ") || "none"}`),
    h("p", {}, joins(one.join)),
    one.problem ? h("p", { class: "cause" }, one.problem) : null);
}

function joins(how) {
  if (how.method === "none") return "its machines boot without joining";
  return `joins by ${how.method}${how.method === "kubeadm" ? `, bound to the ${how.bind}` : ""}`;
}

async function addresses() {
  const [pools, leases] = await Promise.all([api.list("pools"), api.list("leases", "?limit=1000")]);
  const told = h("div", { class: "told", role: "status" });
  return [
    h("div", { class: "grid" }, pools.map(usage)),
    h("h2", {}, "Leases"), told,
    table(["address", "machine", "MAC", "network", "state", "until", ""], leases.map((lease) => [
      plain(lease.address), lease.name, plain(lease.mac ?? "–"), lease.network,
      pill(lease.state), until(lease), mayChange() && lease.holder
        ? sure("Release", `Forget ${lease.address}?`, () => release(lease.address, told)) : "",
    ]), "Nobody has a lease."),
  ];
}

function until(lease) {
  if (lease.rest) return `rests (${lease.rest.cause}) until ${clock(lease.rest.until)}`;
  return lease.expires ? moment(lease.expires) : "never ends";
}

function usage(pool) {
  const held = pool.addresses;
  const meter = held ? h("meter", { min: 0, max: held.size || 1, high: held.size * 0.9, optimum: 0, value: held.size - held.free }) : null;
  return h("article", { class: "tile" },
    h("h3", {}, pool.name, pool.catch_all ? pill("catch all") : null),
    h("p", {}, `${pool.nodes} declared, cluster ${pool.cluster}, network ${pool.network}`),
    meter,
    h("p", {}, held ? `${held.size - held.free} of ${held.size} dynamic addresses are taken${held.resting ? `, ${held.resting} rest` : ""}`
      : "no dynamic addresses"),
    held?.exhausted_since ? h("p", { class: "cause" }, `Machines are turned away since ${moment(held.exhausted_since)}.`) : null);
}

async function operations() {
  const found = await api.list("operations");
  return [found.length ? h("div", { class: "list" }, found.map(operation)) : h("p", { class: "empty" }, "No operation was started yet.")];
}

function operation(one) {
  const told = h("div", { class: "told", role: "status" });
  const box = h("details", { class: "tile operation", open: !one.ended },
    h("summary", {}, pill(one.state), h("strong", {}, one.machine), h("span", {}, `${one.source.cluster} → ${one.target.cluster}`),
      h("span", { class: "faint" }, one.ended ? `${ago(one.ended)}, took ${duration(one.ended - one.started)}` : `at ${one.step}`)),
    one.reason ? h("p", { class: "cause" }, one.reason) : null,
    one.left ? h("p", { class: "cause" }, `Left to do by hand: ${one.left}`) : null,
    h("p", { class: "caption" }, `operation ${one.id}${one.by ? `, asked for by ${one.by}` : ""}`),
    table(["at", "step", "what"], one.steps.map((line) => [clock(line.at), line.step, line.text]), "No step was taken yet."),
    mayChange() && one.state === "running" ? sure("Roll back", "Return it to where it was?", () => cancel(one.id, told)) : null,
    told);
  box.dataset.id = one.id;
  return box;
}

async function events() {
  return [table(["at", "kind", "what", "machine"], notes.map((event) => [
    clock(event.at), event.kind, event.text, plain(event.mac ?? event.address ?? ""),
  ]), "Nothing has happened yet.")];
}

async function audit() {
  const found = await api.list("audit", "?limit=300");
  return [table(["at", "who", "from", "what", "asked", "ended"], found.map((entry) => [
    moment(entry.at), entry.name ? `${entry.name} (${entry.role})` : "unknown", plain(entry.source),
    h("span", { class: "mono" }, `${entry.method} ${entry.path}`),
    Object.entries(entry.request).map(([key, value]) => `${key}=${value}`).join(" "),
    entry.status === null ? "no answer left" : `${entry.status}${entry.refused ? " refused" : ""}${entry.operation ? `, operation ${entry.operation}` : ""}`,
  ]), "Nothing was changed yet.")];
}
