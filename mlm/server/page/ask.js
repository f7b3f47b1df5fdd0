// Asking the server, and nobody else: every address is relative to this page.

const PATIENCE_MS = 10_000;

// The server answered, and it was no.
export class Refusal extends Error {
  constructor(status, { message, remedy } = {}) {
    const said = message ?? `the server answers with status ${status}`;
    super(remedy ? `${said}. Try: ${remedy}` : said);
    this.status = status;
  }
}

// Nothing answered, or not in time.
export class Silence extends Error {
  constructor() {
    super("The server does not answer");
  }
}

export async function read(path) {
  const signal = AbortSignal.timeout(PATIENCE_MS);
  return JSON.parse(await ask(path, { cache: "no-store", signal }));
}

// Loading a model takes as long as it takes, so this one waits for the answer however long.
export async function send(method, path, document) {
  const headers = { "X-Mlm": "1" }; // a page may change things only with this
  if (document === undefined) return ask(path, { method, headers });
  headers["Content-Type"] = "application/json";
  return ask(path, { method, headers, body: JSON.stringify(document) });
}

async function ask(path, options) {
  const [response, body] = await exchange(path, options);
  if (response.ok) return body;
  throw new Refusal(response.status, errorIn(body));
}

async function exchange(path, options) {
  try {
    const response = await fetch(path, { credentials: "same-origin", ...options });
    return [response, await response.text()];
  } catch {
    throw new Silence();
  }
}

function errorIn(body) {
  try {
    return JSON.parse(body).error ?? undefined;
  } catch {
    return undefined;
  }
}
