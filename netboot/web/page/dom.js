// Elements, and values as text. Text goes in as text nodes, never as markup.

export const at = (id) => document.getElementById(id);

// An element: properties by name, `on...` listeners, aria-... attributes, then its children.
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.includes("-")) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function write(element, value) {
  if (element.textContent !== value) element.textContent = value;
}

export const pill = (word) => h("span", { class: `pill ${word.replace(" ", "-")}` }, word);

export const table = (heads, rows, empty) => (rows.length
  ? h("div", { class: "scroll" }, h("table", {},
    h("thead", {}, h("tr", {}, heads.map((head) => h("th", {}, head)))),
    h("tbody", {}, rows.map((cells) => h("tr", {}, cells.map((cell) => h("td", {}, shown(cell))))))))
  : h("p", { class: "empty" }, empty));

export const facts = (pairs) => h("dl", { class: "facts" },
  pairs.filter(([, value]) => value).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, shown(value)))));

function shown(value) {
  if (value instanceof Node) return value;
  if (value === null || value === undefined || value === "") return "–";
  return Array.isArray(value) ? value.join(", ") || "–" : String(value);
}

// A line of steps; `word` says what each is: done, passed, now, failed, or nothing.
export function steps(names, present, word) {
  return h("ol", { class: "line", "aria-label": `steps, at ${present}` },
    names.map((name, place) => h("li", { title: name, class: word(name, place) }, name)));
}

export function size(count) {
  const units = ["KiB", "MiB", "GiB"];
  let scaled = count / 1024;
  while (scaled >= 1024 && units.length > 1) { scaled /= 1024; units.shift(); }
  return `${scaled.toFixed(1)} ${units[0]}`;
}

export function duration(count) {
  const whole = Math.max(0, count);
  if (whole < 60) return `${whole.toFixed(1)} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${Math.floor(whole % 60)} s`;
  if (whole < 172800) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} days`;
}

export const seconds = (count) => duration(Math.round(count)).replace(".0 s", " s");
export const lasted = (then) => seconds(Date.now() / 1000 - then);
export const ago = (then) => `${lasted(then)} ago`;
export const moment = (then) => new Date(then * 1000).toLocaleString();
export const clock = (then) => new Date(then * 1000).toLocaleTimeString();
