// The API: the token of this tab as a Bearer, answers as JSON, the live stream. No cookie is ever sent.

const KEY = "netboot.token";

export const token = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

// The API said no: `status`, and reason and remedy as its text.
export class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

async function ask(method, path, { body, accept = "application/json", signal = AbortSignal.timeout(20000) } = {}) {
  const headers = { Authorization: `Bearer ${token.get()}`, Accept: accept };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const answer = await fetch(path, {
    method, headers, signal, cache: "no-store", credentials: "omit", body: body && JSON.stringify(body),
  });
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  const told = [problem.reason, problem.remedy].filter(Boolean).join(". ");
  throw new Refused(answer.status, answer.status === 401 ? "This token is not known here." : told || `${path}: ${answer.status}`);
}

const below = (path) => `/api/v1/${path.map(encodeURIComponent).join("/")}`;

export const get = async (...path) => (await ask("GET", below(path))).json();

// The items of a list; `total` counts what its limit cut, too.
export async function list(noun, query = "") {
  const { items, total } = await (await ask("GET", `/api/v1/${noun}${query}`)).json();
  return Object.assign(items, { total });
}

export const change = async (method, path, body, query = "") => (await ask(method, below(path) + query, { body })).json();

// Hand each event of the stream to `take(kind, value)` until it ends; `opened` is called once it is open.
export async function follow(opened, take, alive) {
  const stop = new AbortController();
  const answer = await ask("GET", "/api/v1/events", { accept: "text/event-stream", signal: stop.signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    await opened();
    let rest = "";
    while (alive()) {
      const { value, done } = await silence(reader.read(), 60000);
      if (done) return;
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) hand(block, take);
    }
  } finally {
    stop.abort();
  }
}

function hand(block, take) {
  const lines = block.split("\n");
  const field = (name) => lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
  if (field("data")) take(field("event"), JSON.parse(field("data")));
}

function silence(promise, limit) {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error("no sign of life")), limit); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
