// The connection to the server: reading, and an outbox that keeps every answer until the server has said that it is on disk.

let token = document.querySelector('meta[name="wsss-token"]').content;

export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** The table of patches that the page shows: answers name its rows, and pictures are kept under it. */
let version = null;
export const setVersion = (value) => (version = value);
export const versioned = (address) => (version ? `${address}${address.includes('?') ? '&' : '?'}v=${version}` : address);

export async function get(path) {
  const reply = await fetch(path, { headers: { Accept: 'application/json' }, credentials: 'same-origin' });
  const body = reply.status === 204 ? null : await reply.json().catch(() => null);
  if (!reply.ok) throw new Refused(body?.error ?? `the server answered ${reply.status}`, reply.status);
  return body;
}

async function renewToken() {
  const page = await (await fetch('/', { credentials: 'same-origin' })).text();
  const found = new DOMParser().parseFromString(page, 'text/html').querySelector('meta[name="wsss-token"]');
  const fresh = found?.content && found.content !== token;
  if (fresh) token = found.content;
  return fresh;
}

export async function send(path, body) {
  const ask = () =>
    fetch(path, {
      method: 'POST',
      credentials: 'same-origin',
      headers: { 'Content-Type': 'application/json', 'X-WSSS-Token': token },
      body: JSON.stringify(body),
    });
  let reply = await ask();
  if (reply.status === 403 && (await renewToken())) reply = await ask();
  const said = await reply.json().catch(() => null);
  if (reply.ok && said) return said;
  if (reply.status >= 500 || reply.status === 429 || !said) throw new TypeError(`the server answered ${reply.status}`);
  throw new Refused(said.error ?? `the server answered ${reply.status}`, reply.status);
}

export function newId() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

const PREFIX = 'wsss-outbox:';

/** Answers on their way, in order; each keeps its id, so that sending one twice saves it once. */
export class Outbox extends EventTarget {
  constructor(reader) {
    super();
    this.reader = reader;
    this.key = `${PREFIX}${reader}:${newId()}`;
    this.items = [];
    this.waiting = new Map(); // id -> resolve, reject
    this.offline = false;
    this.busy = false;
    this.tries = 0;
    this.refusals = []; // before anybody listens
    this.adopt();
    addEventListener('online', () => this.now());
    addEventListener('beforeunload', (event) => {
      if (this.items.length) event.preventDefault();
    });
  }

  /** Take over what an earlier page could not send. */
  adopt() {
    try {
      const keys = Object.keys(localStorage).filter((key) => key.startsWith(`${PREFIX}${this.reader}:`));
      for (const key of keys) {
        this.items.push(...JSON.parse(localStorage.getItem(key)));
        localStorage.removeItem(key);
      }
    } catch {
      // a browser without storage: answers wait in memory alone
    }
    if (this.items.length) this.keep();
  }

  keep() {
    try {
      if (this.items.length) localStorage.setItem(this.key, JSON.stringify(this.items));
      else localStorage.removeItem(this.key);
    } catch {
      // as above
    }
  }

  /** Put one in; the promise is fulfilled when it is saved, and rejected when the server refuses it. */
  push(path, body) {
    const item = { path, body: { id: newId(), ...(version ? { version } : {}), ...body } };
    this.items.push(item);
    this.keep();
    const done = new Promise((resolve, reject) => this.waiting.set(item.body.id, { resolve, reject }));
    this.tell();
    this.work();
    return done;
  }

  now() {
    clearTimeout(this.timer);
    this.timer = null;
    this.work();
  }

  async work() {
    if (this.busy || this.timer) return;
    this.busy = true;
    while (this.items.length) {
      const { path, body } = this.items[0];
      let said, refused;
      try {
        said = await send(path, body);
      } catch (error) {
        if (!(error instanceof Refused)) {
          this.offline = true;
          this.tries += 1;
          this.timer = setTimeout(() => this.now(), Math.min(500 * 1.6 ** this.tries, 5000));
          break;
        }
        refused = error;
      }
      this.offline = false;
      this.tries = 0;
      this.items.shift();
      this.keep();
      const waiting = this.waiting.get(body.id);
      this.waiting.delete(body.id);
      if (refused) {
        if (waiting) waiting.reject(refused);
        const detail = { path, body, why: refused.message, status: refused.status };
        if (!this.dispatchEvent(new CustomEvent('refused', { detail, cancelable: true }))) continue;
        this.refusals.push(detail);
      } else {
        if (waiting) waiting.resolve(said);
        this.everSaved = true;
        this.dispatchEvent(new CustomEvent('saved', { detail: { path, body, said } }));
      }
    }
    this.busy = false;
    this.tell();
  }

  tell() {
    this.dispatchEvent(new Event('change'));
  }
}
