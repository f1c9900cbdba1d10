// What the views share: patches, this reader's answers, filters, order and selection. Views listen; nobody else keeps any of it.

import { get, Outbox, setVersion } from './net.js';
import { classKeys } from './keys.js';

export const NOT_SEEN = 0;
export const ANSWERED = 1;
export const SKIPPED = 2;
export const ARTEFACT = 3;
export const STATE_NAMES = ['not seen', 'answered', 'skipped', 'artefact'];
export const SIGNS = { present: '✓', unsure: '?', absent: '–' };

export const ORDERS = [
  ['useful', 'Most useful first'],
  ['random', 'At random'],
  ['slide', 'Slide by slide'],
  ['clusters', 'One of each kind'],
  ['doubtful', 'Doubtful answers again'],
  ['settlement', 'Settle disagreements'],
];

const NO_FILTERS = { slide: '', site: '', class: '', has: 'present', state: '', from: '', to: '' };

class Model extends EventTarget {
  async load() {
    const state = await get('/api/state');
    this.state = state;
    this.reader = state.reader;
    this.canUndo = state.can_undo ?? true;
    this.canRedo = state.can_redo ?? true;
    this.version = state.version;
    setVersion(state.version ?? null);
    this.outbox ??= new Outbox(this.reader);
    if (this.outbox.items.length) await this.outbox.work(); // of a page that ended before they were saved
    const rows = await get('/api/rows');
    const keys = classKeys(state.vocabulary);
    this.classes = state.vocabulary.map((item, index) => ({
      ...item,
      key: keys[index],
      css: Array.isArray(item.color) ? `rgb(${item.color.join(' ')})` : item.color,
    }));
    this.byCode = new Map(this.classes.map((item) => [item.code, item]));
    this.slides = state.slides;
    this.takeRows(rows);
    this.filters = { ...NO_FILTERS, ...remembered('filters', {}) };
    if (!this.slides.some((slide) => slide.id === this.filters.slide)) this.filters.slide = '';
    if (this.filters.class && !this.byCode.has(this.filters.class)) this.filters.class = '';
    this.order = remembered('order', 'useful');
    if (!ORDERS.some(([name]) => name === this.order)) this.order = 'useful';
    this.suggest = remembered('suggestions', true);
    this.set = null; // { rows, label, drawn } of a lasso or of "more like this"
    this.selection = new Set();
    this.anchor = null;
    this.queue = []; // what comes next
    this.queueEnd = false;
    this.current = null; // the row in focus
    this.isListing = true; // the order is not known yet
    this.gone = new Set(); // slides whose files cannot be read, by number
    this.answeredNow = new Set(); // rows
    this.sift();
  }

  takeRows(rows) {
    this.count = rows.slide.length;
    this.x = rows.x;
    this.y = rows.y;
    this.mpp = rows.mpp;
    this.size = rows.size;
    this.slide = Int32Array.from(rows.slide);
    this.rowState = Uint8Array.from(rows.state);
    this.mine = new Map(Object.entries(rows.mine ?? {}).map(([row, answer]) => [Number(row), answer]));
  }

  slideOf(row) {
    return this.slides[this.slide[row]];
  }

  /** Where rows are, in words that stay true when the list of patches changes. */
  places(rows) {
    const of = (column, row) => (Array.isArray(column) ? column[row] : column);
    return rows.map((row) => ({ slide: this.slideOf(row).id, x: this.x[row], y: this.y[row], mpp: of(this.mpp, row), size: of(this.size, row) }));
  }

  tell(name, detail = null) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  // --- filters, order, selection -------------------------------------------------------------------

  get filtersInUse() {
    const own = { ...this.filters, has: NO_FILTERS.has };
    return Object.keys(own).filter((key) => own[key] !== NO_FILTERS[key]).length;
  }

  setFilters(changes) {
    this.filters = { ...this.filters, ...changes };
    remember('filters', this.filters);
    this.restart();
  }

  clearFilters() {
    this.setFilters(NO_FILTERS);
  }

  setOrder(order) {
    this.order = order;
    remember('order', order);
    this.restart();
  }

  setSet(set) {
    this.set = set;
    this.restart();
  }

  restart() {
    this.queue = [];
    this.queueEnd = false;
    this.listed = false;
    this.isListing = true;
    this.gone.clear(); // perhaps they are back
    this.fetching = null;
    this.current = null;
    this.note = '';
    clearTimeout(this.renewal);
    this.generation = (this.generation ?? 0) + 1;
    this.sift();
    this.select([...this.selection].filter((row) => this.isShown[row]));
    this.tell('shown');
  }

  passes(row) {
    const wanted = this.filters;
    const slide = this.slides[this.slide[row]];
    if (wanted.slide && slide.id !== wanted.slide) return false;
    if (wanted.site && (slide.site ?? '') !== wanted.site) return false;
    if (wanted.state !== '' && this.rowState[row] !== Number(wanted.state)) return false;
    if (!wanted.class && !wanted.from && !wanted.to) return true;
    const mine = this.mine.get(row);
    if (!mine) return false;
    if (wanted.class && mine.classes[wanted.class] !== wanted.has) return false;
    const day = localDay(mine.time);
    return (!wanted.from || day >= wanted.from) && (!wanted.to || day <= wanted.to);
  }

  /** Which rows are shown, and in which order. */
  sift() {
    this.isShown = new Uint8Array(this.count);
    const list = [];
    const take = (row) => {
      if (!this.isShown[row] && this.passes(row)) {
        this.isShown[row] = 1;
        list.push(row);
      }
    };
    if (this.set) {
      this.set.rows.forEach(take);
    } else {
      for (const item of this.queue) take(item.row);
      for (let row = 0; row < this.count; row += 1) take(row);
    }
    this.shown = list;
    this.placeOf = null;
  }

  /** Where a row stands among those shown, or -1. */
  place(row) {
    if (!this.placeOf) {
      this.placeOf = new Int32Array(this.count).fill(-1);
      this.shown.forEach((item, index) => {
        this.placeOf[item] = index;
      });
    }
    return this.placeOf[row];
  }

  select(rows, anchor = this.anchor) {
    this.selection = rows instanceof Set ? rows : new Set(rows);
    this.anchor = anchor;
    this.tell('selection');
  }

  // --- the queue -----------------------------------------------------------------------------------

  /** Whether what comes next is known here: of a set, or of what was answered before. */
  get isLocalQueue() {
    const wanted = this.filters;
    return Boolean(this.set || wanted.class || wanted.from || wanted.to || Number(wanted.state) > 0);
  }

  /** Ask for more of the order, unless there is no more. */
  async more() {
    if (this.queueEnd) return;
    if (this.fetching) return this.fetching;
    const generation = this.generation ?? 0;
    this.fetching = this.fetchQueue(generation);
    try {
      await this.fetching;
    } finally {
      if ((this.generation ?? 0) === generation) {
        this.fetching = null;
        this.isListing = false;
        this.tell('known');
      }
    }
  }

  /** The next of the order, if it is here; what lies on a slide that is gone is passed over. */
  next() {
    let item;
    do item = this.queue.shift();
    while (item && this.gone.has(this.slide[item.row]));
    return item;
  }

  /** A slide's file cannot be read: whether that is news. */
  lose(slide) {
    if (this.gone.has(slide)) return false;
    this.gone.add(slide);
    return true;
  }

  async fetchQueue(generation) {
    if (this.isLocalQueue && this.order !== 'settlement') {
      const again = !this.set || Number(this.filters.state) > 0 || this.filters.class;
      this.queue = this.shown
        .filter((row) => again || this.rowState[row] === NOT_SEEN)
        .map((row) => ({ row, drawn: this.set?.drawn ?? 'search', known: true }));
      this.queueEnd = true;
      return;
    }
    let items;
    let pending = false;
    if (this.order === 'settlement') {
      const said = await get('/api/disputes');
      items = said.places.filter((place) => this.passes(place.row)).map((place) => ({ ...place, settle: true, drawn: 'settlement' }));
      if ((this.generation ?? 0) === generation) this.queueEnd = true;
    } else {
      const ask = new URLSearchParams({ order: this.order, n: '100' });
      if (this.filters.slide) ask.set('slide', this.filters.slide);
      if (this.filters.site) ask.set('site', this.filters.site);
      if (this.filters.state !== '') ask.set('state', this.filters.state);
      for (const slide of this.gone) ask.append('without', this.slides[slide].id);
      const inHand = [...this.queue.map((item) => item.row), ...(this.current === null ? [] : [this.current])];
      if (inHand.length) ask.set('skip', inHand.join(','));
      const said = await get(`/api/queue?${ask}`);
      items = said.rows;
      pending = said.pending;
      if ((this.generation ?? 0) === generation) this.note = said.note ?? '';
    }
    if ((this.generation ?? 0) !== generation) return;
    const known = new Set(this.queue.map((item) => item.row));
    const fresh = items.filter((item) => !known.has(item.row) && item.row !== this.current);
    if (!fresh.length && !pending) this.queueEnd = true;
    this.queue.push(...fresh);
    if (!this.listed && fresh.length) {
      this.listed = true;
      this.sift();
      this.tell('listed');
    }
    if (pending) this.renewLater(generation);
    if (pending && !fresh.length) await new Promise((resolve) => setTimeout(resolve, 700));
  }

  /** What came while the order was still being found is replaced when it is known, but for the very next. */
  renewLater(generation) {
    clearTimeout(this.renewal);
    this.renewal = setTimeout(() => {
      if ((this.generation ?? 0) !== generation || this.fetching) return;
      this.queue = this.queue.slice(0, 2);
      this.more().then(() => this.tell('queue'), () => {});
    }, 3000);
  }

  // --- answers -------------------------------------------------------------------------------------

  /** What is true of rows from now on: on the page at once; on disk when the promise is fulfilled. */
  answer(rows, { classes, each = null, artefact = null, seconds = null, drawn, ticket, suggested = null, how = 'created' }) {
    const time = new Date().toISOString();
    for (const row of rows) {
      this.mine.set(row, { classes: each?.[row] ?? classes, artefact, time });
      this.rowState[row] = artefact ? ARTEFACT : ANSWERED;
    }
    for (const row of rows) this.answeredNow.add(row);
    this.tell('answers', { rows });
    const body = { rows, classes, artefact, seconds, drawn, how };
    if (each) body.each = each;
    if (ticket) body.ticket = ticket;
    if (suggested) body.suggested = true;
    return this.send('/api/answer', body, rows);
  }

  /** Put it into the outbox; what it makes of undo and redo is known with the reply. */
  async send(path, body, rows = null) {
    const said = await this.outbox.push(path, body, rows && this.places(rows));
    this.canUndo = said.can_undo ?? true;
    this.canRedo = said.can_redo ?? path !== '/api/answer';
    this.tell('steps');
    return said;
  }

  settle(row, classes, seconds) {
    return this.send('/api/settle', { row, classes, artefact: null, seconds }, [row]);
  }

  skip(row, { drawn, ticket }) {
    if (this.rowState[row] === NOT_SEEN) this.rowState[row] = SKIPPED;
    this.tell('answers', { rows: [row] });
    const body = { row, drawn };
    if (ticket) body.ticket = ticket;
    return this.send('/api/skip', body, [row]);
  }

  /** One step back or forth; the rows it was about. */
  async step(kind) {
    const said = await this.send(`/api/${kind}`, {});
    const rows = said.undone ?? said.redone ?? [];
    if (rows.length) await this.takeBack(rows, said);
    return rows;
  }

  async takeBack(rows, said) {
    if (said.mine && said.state) {
      for (const row of rows) {
        const mine = said.mine[row];
        if (mine) this.mine.set(row, mine);
        else this.mine.delete(row);
        this.rowState[row] = said.state[row] ?? NOT_SEEN;
      }
    } else {
      await this.reread();
    }
    this.tell('answers', { rows });
  }

  /** Take what the server knows, after it would not have an answer. */
  async reread() {
    const rows = await get('/api/rows');
    if (rows.version !== this.version) return; // they are other patches by now
    this.takeRows(rows);
    this.tell('answers', { rows: this.shown });
  }

  async refreshState() {
    this.state = await get('/api/state');
    return this.state;
  }
}

/** The day of a time where the reader is, as a field of dates says it. */
function localDay(time) {
  if (!time) return '';
  const at = new Date(time);
  return `${at.getFullYear()}-${String(at.getMonth() + 1).padStart(2, '0')}-${String(at.getDate()).padStart(2, '0')}`;
}

export function remembered(name, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(`wsss-page:${name}`)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

export function remember(name, value) {
  try {
    localStorage.setItem(`wsss-page:${name}`, JSON.stringify(value));
  } catch {
    // a browser without storage forgets it
  }
}

export const model = new Model();
