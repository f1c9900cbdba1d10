// The connection to the server: reading, and an outbox that keeps every answer until the server has said that it is on disk.

let token = document.querySelector('meta[name="wsss-token"]').content;

export class Refused extends Error {
  constructor(message, status, reason = null) {
    super(message);
    this.status = status;
    this.reason = reason;
  }
}

/** The table of patches that the page shows: answers name its rows, and pictures are kept under it. Paths are below the
    page's own, which need not be the server's root. */
let version = null;
export const setVersion = (value) => (version = value);
export const versioned = (path) => (version ? `.${path}${path.includes('?') ? '&' : '?'}v=${version}` : `.${path}`);

/** It is heard and cannot be done now; sent again later, it may be. */
class Later extends TypeError {
  constructor(status, why) {
    super(`the server answered ${status}`);
    this.status = status;
    this.why = why;
  }
}

export async function get(path) {
  const reply = await fetch(`.${path}`, { headers: { Accept: 'application/json' }, credentials: 'same-origin' });
  const body = reply.status === 204 ? null : await reply.json().catch(() => null);
  if (!reply.ok) throw new Refused(body?.error ?? `the server answered ${reply.status}`, reply.status);
  return body;
}

async function renewToken() {
  const page = await (await fetch('./', { credentials: 'same-origin' })).text();
  const found = new DOMParser().parseFromString(page, 'text/html').querySelector('meta[name="wsss-token"]');
  const fresh = found?.content && found.content !== token;
  if (fresh) token = found.content;
  return fresh;
}

export async function send(path, body) {
  const ask = () =>
    fetch(`.${path}`, {
      method: 'POST',
      credentials: 'same-origin',
      headers: { 'Content-Type': 'application/json', 'X-WSSS-Token': token },
      body: JSON.stringify(body),
    });
  let reply = await ask();
  if (reply.status === 403 && (await renewToken())) reply = await ask();
  const said = await reply.json().catch(() => null);
  if (reply.ok && said) return said;
  if (reply.status >= 500 || reply.status === 429 || !said) throw new Later(reply.status, (reply.status === 503 && said?.error) || '');
  throw new Refused(said.error ?? `the server answered ${reply.status}`, reply.status, said.reason);
}

export function newId() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** So often in a row the server may fail at one thing (500); then it is not asked again until the reader says so. */
export const MOST_FAILURES = 5;

const PREFIX = 'wsss-outbox:';
const REFUSED = 'wsss-refused:';

/** Answers on their way, in order; each keeps its id, so that sending one twice saves it once. Nothing of them is lost:
 * what the server will not have is kept in the browser until the reader has it as a file. */
export class Outbox extends EventTarget {
  constructor(reader) {
    super();
    this.reader = reader;
    this.key = `${PREFIX}${reader}:${newId()}`;
    this.items = [];
    this.waiting = new Map(); // id -> resolve, reject
    this.offline = false;
    this.blocked = ''; // why the server would not listen to this page at all
    this.full = ''; // why it cannot write just now
    this.busy = false;
    this.tries = 0;
    this.failures = 0; // of the server, in a row, at the first item
    this.stopped = false; // it failed too often, and is asked again when the reader says so
    this.isOld = false; // the list of patches has changed under this page
    this.refusals = this.stored(`${REFUSED}${reader}`);
    this.adopt();
    addEventListener('online', () => this.now());
    addEventListener('beforeunload', (event) => {
      if (this.items.length) event.preventDefault();
    });
  }

  stored(key) {
    try {
      return JSON.parse(localStorage.getItem(key)) ?? [];
    } catch {
      return []; // a browser without storage
    }
  }

  store(key, items) {
    try {
      if (items.length) localStorage.setItem(key, JSON.stringify(items));
      else localStorage.removeItem(key);
    } catch {
      // a browser without storage: answers wait in memory alone
    }
  }

  /** Take over what an earlier page could not send. */
  adopt() {
    try {
      const keys = Object.keys(localStorage).filter((key) => key.startsWith(`${PREFIX}${this.reader}:`));
      for (const key of keys) {
        this.items.push(...this.stored(key));
        localStorage.removeItem(key);
      }
    } catch {
      // as above
    }
    if (this.items.length) this.keep();
  }

  keep() {
    this.store(this.key, this.items);
  }

  /** Put one in; the promise is fulfilled when it is saved, and rejected when the server refuses it.
   *
   * `places` say where the rows are, for a server whose list of patches is another one by then. */
  push(path, body, places = null) {
    const item = { path, body: { id: newId(), ...(version ? { version } : {}), ...body }, places };
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

  /** The reader says so: once more. */
  again() {
    this.stopped = false;
    this.now();
  }

  async work() {
    if (this.busy || this.timer || this.stopped) return;
    this.busy = true;
    while (this.items.length) {
      const item = this.items[0];
      const { path, body, places, late } = item;
      let said, refused;
      try {
        said = await send(path, late ? { ...body, ...(places ? { places } : {}), late } : body);
      } catch (error) {
        const isMeant = error instanceof Refused && error.status !== 401 && error.reason !== 'reader';
        if (!isMeant) {
          this.offline = true;
          this.blocked = error instanceof Refused ? error.message : '';
          this.full = error.why ?? '';
          this.tries += 1;
          this.failures = error.status === 500 ? this.failures + 1 : 0;
          this.stopped = this.failures >= MOST_FAILURES;
          if (!this.stopped) this.timer = setTimeout(() => this.now(), Math.min(500 * 1.6 ** this.tries, 5000));
          break;
        }
        if (error.reason === 'candidates' && !late && (places || path === '/api/undo' || path === '/api/redo')) {
          item.late = true; // once more, by its place
          this.isOld ||= body.version === version;
          this.keep();
          continue;
        }
        refused = error;
      }
      this.offline = false;
      this.blocked = this.full = '';
      this.tries = this.failures = 0;
      this.items.shift();
      this.keep();
      const waiting = this.waiting.get(body.id);
      this.waiting.delete(body.id);
      if (refused) this.refuse(item, refused);
      else {
        this.everSaved = true;
        this.dispatchEvent(new CustomEvent('saved', { detail: { path, body, said } }));
      }
      if (waiting && refused) waiting.reject(refused);
      else if (waiting) waiting.resolve(late ? { ...said, undone: [], redone: [] } : said); // its rows are of another list
    }
    this.busy = false;
    this.tell();
  }

  /** What the server will not have is kept here, and said. */
  refuse({ path, body, places }, { message, status }) {
    if (path !== '/api/undo' && path !== '/api/redo') {
      this.refusals.push({ when: new Date().toISOString(), why: message, path, places, ...body });
      this.store(`${REFUSED}${this.reader}`, this.refusals);
    }
    this.dispatchEvent(new CustomEvent('refused', { detail: { path, why: message, status, places } }));
  }

  /** The reader has them. */
  forget() {
    this.refusals = [];
    this.store(`${REFUSED}${this.reader}`, []);
    this.tell();
  }

  tell() {
    this.dispatchEvent(new Event('change'));
  }
}
