// The other tabs: clusters, addresses, operations, events, and the audit. Each asks anew when it is shown.

import * as api from "./api.js";
import { mayChange, release, sure } from "./actions.js";
import { at, clock, h, lasted, moment, pill, seconds, table } from "./dom.js";
import { operations } from "./operations.js";

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

export const ill = (one) => Boolean(one.problem) || one.state === "down";

function cluster(one) {
  const well = !ill(one);
  return h("article", { class: `tile ${well ? "well" : "ill"}` },
    h("h3", {}, one.name, pill(one.join.method === "none" ? "no join" : well ? "healthy" : "problem")),
    h("p", { class: "mono" }, one.endpoint),
    h("p", {}, `pools: ${one.pools.join(", ") || "none"}`),
    h("p", {}, joins(one.join)),
    one.since ? h("p", {}, health(one)) : null,
    one.nodes === null ? null : h("p", {}, `${one.nodes} nodes${one.max_nodes === null ? "" : ` of at most ${one.max_nodes}`}`),
    one.waiting ? h("p", { class: "note" }, `${one.waiting} machines wait for their credential`) : null,
    one.unwatched ? h("p", { class: "note" }, `Its nodes are not watched: ${one.unwatched}`) : null,
    one.problem ? h("p", { class: "cause" }, one.problem) : null,
    one.problem ? h("p", { class: "caption" }, "To see what is wrong: ", h("code", {}, `netboot cluster doctor ${one.name}`)) : null);
}

function health(one) {
  const again = one.state === "down" && one.next_try ? `, asked again in ${seconds(one.next_try - Date.now() / 1000)}` : "";
  return `its API is ${one.state} for ${lasted(one.since)}${again}`;
}

function joins(how) {
  if (how.method === "none") return "its machines boot without joining";
  return `joins by ${how.method}${how.method === "kubeadm" ? `, bound to the ${how.bind}` : ""}`;
}

async function addresses() {
  const [pools, leases] = await Promise.all([api.list("pools"), api.list("leases", "?limit=1000")]);
  return [
    h("div", { class: "grid" }, pools.map(usage)),
    h("h2", {}, "Leases"),
    table(["address", "machine", "MAC", "network", "state", "until", ""], leases.map((lease) => [
      plain(lease.address), lease.name, plain(lease.mac ?? "–"), lease.network,
      pill(lease.state), until(lease), mayChange() && lease.holder
        ? sure("Release", `Forget ${lease.address}?`, () => release(lease.address, at("told"))) : "",
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

async function events() {
  const found = table(["at", "kind", "what", "machine"], notes.map((event) => [
    plain(clock(event.at)), event.kind, event.text, plain(event.mac ?? event.address ?? ""),
  ]), "Nothing has happened yet.");
  found.classList.add("events");
  return [found];
}

function ended(entry) {
  if (entry.status === null) return "no answer left";
  if (entry.refused) return `${entry.status} refused: ${entry.why}`;
  return `${entry.status}${entry.operation ? `, operation ${entry.operation}` : ""}`;
}

async function audit() {
  const found = await api.list("audit", "?limit=300");
  return [table(["at", "who", "from", "what", "asked", "ended"], found.map((entry) => [
    moment(entry.at), entry.name ? `${entry.name} (${entry.role})` : "unknown", plain(entry.source),
    h("span", { class: "mono" }, `${entry.method} ${entry.path}`),
    Object.entries(entry.request).map(([key, value]) => `${key}=${value}`).join(" "),
    ended(entry),
  ]), "Nothing was changed yet.")];
}
