// What is drawn on one slide: its areas, undo and redo, and saving, of which the browser keeps a copy until it is done.

import { get, MOST_FAILURES, newId, Refused, send } from './net.js';

const SORTS = ['masks', 'regions'];
const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);
const byId = (areas) => new Map(areas.map((area) => [area.id, area]));

/** Areas are never changed, but replaced: `{ id, kind, polygons }`, px of the slide. */
export class Book extends EventTarget {
  constructor(reader, number, said, sortOf) {
    super();
    Object.assign(this, { reader, number, sortOf, slide: said.id, past: [], future: [], state: 'saved', tries: 0, failures: 0, closed: false });
    this.kept = {}; // by sort: what the server has, and its edit
    this.refused = {}; // files that are not ours to change
    for (const sort of SORTS) this.take(sort, said[sort]);
    this.areas = [...this.kept.masks.areas, ...this.kept.regions.areas];
    this.adopt();
  }

  take(sort, { edit, areas, error }) {
    this.kept[sort] = { edit, areas };
    if (error) this.refused[sort] = error;
    else delete this.refused[sort];
  }

  of(sort, areas = this.areas) {
    return areas.filter((area) => this.sortOf(area.kind) === sort);
  }

  isChanged(sort) {
    return !this.refused[sort] && !same(this.of(sort), this.kept[sort].areas);
  }

  get unsaved() {
    return SORTS.some((sort) => this.isChanged(sort));
  }

  // --- changes -------------------------------------------------------------------------------------

  /** One step: these areas instead of all that were. */
  commit(areas) {
    this.past.push(this.areas);
    if (this.past.length > 500) this.past.shift();
    this.future = [];
    this.show(areas);
  }

  put(area) {
    const known = this.areas.some((other) => other.id === area.id);
    this.commit(known ? this.areas.map((other) => (other.id === area.id ? area : other)) : [...this.areas, area]);
  }

  undo() {
    this.turn(this.past, this.future);
  }

  redo() {
    this.turn(this.future, this.past);
  }

  turn(from, to) {
    if (!from.length) return;
    to.push(this.areas);
    this.show(from.pop());
  }

  show(areas) {
    this.areas = areas;
    this.remember();
    this.tell();
    this.save();
  }

  tell() {
    this.dispatchEvent(new Event('change'));
  }

  say(text) {
    this.dispatchEvent(new CustomEvent('said', { detail: text }));
  }

  // --- saving --------------------------------------------------------------------------------------

  /** The server failed too often: it is asked again with each change, or when the reader says so, and not by itself. */
  get stopped() {
    return this.failures >= MOST_FAILURES;
  }

  /** Why it is not saved, and what to do. */
  get trouble() {
    if (this.stopped) return `Not saved: the server failed ${this.failures} times at saving, and its log says why. What you drew is kept in this browser. Tell whoever runs the server, then try again.`;
    const [why, when] = this.failures ? ['The server failed at saving', 'it can'] : ['No connection to the server', 'the server is back'];
    return `${why}. You can go on drawing: it is kept here, and sent as soon as ${when}. Do not close this page.`;
  }

  async save() {
    if (this.saving || this.closed) return;
    clearTimeout(this.timer);
    this.saving = true;
    try {
      for (let sort; (sort = SORTS.find((one) => this.isChanged(one))); ) {
        this.be('saving');
        await this.send(sort);
      }
      this.tries = this.failures = 0;
      this.be('saved');
    } catch (error) {
      if (error instanceof Refused) {
        this.tries = this.failures = 0;
        this.be('refused');
        this.dispatchEvent(new CustomEvent('refused', { detail: error }));
      } else {
        this.tries += 1;
        this.failures = error.status === 500 ? this.failures + 1 : 0;
        this.be('lost');
        if (!this.stopped) this.timer = setTimeout(() => this.save(), Math.min(500 * 1.6 ** this.tries, 5000));
      }
    }
    this.saving = false;
    this.remember();
  }

  be(state) {
    this.state = state;
    this.tell();
  }

  async send(sort) {
    const areas = this.of(sort);
    const { edit } = this.kept[sort];
    // sent again after a lost answer, the same change has the same name, and is written once
    if (!this.sent || this.sent.areas !== JSON.stringify(areas) || this.sent.edit !== edit) this.sent = { id: newId(), edit, areas: JSON.stringify(areas) };
    let said;
    try {
      said = await send(`/api/draw/${this.number}`, { id: this.sent.id, slide: this.slide, sort, edit, areas });
    } catch (error) {
      if (!(error instanceof Refused) || error.status !== 409) throw error;
      const now = await get(`/api/draw/${this.number}`).catch(() => null);
      if (now?.id !== this.slide || now[sort].edit === edit || now[sort].error) throw error; // the page is old, not the drawing
      this.merge(sort, now[sort]);
      return;
    }
    const amend = (all) => all.flatMap((area) => (said.changed[area.id] && areas.includes(area) ? (said.changed[area.id].length ? [{ ...area, polygons: said.changed[area.id] }] : []) : [area]));
    this.kept[sort] = { edit: said.edit, areas: amend(areas) };
    this.areas = amend(this.areas);
  }

  /** Somebody else drew here: theirs stays, what was drawn here is added, and what both changed is theirs. */
  merge(sort, theirs) {
    if (same(theirs.areas, this.of(sort))) {
      this.take(sort, theirs); // they are ours, and the answer was lost
      return;
    }
    const [base, mine, other] = [this.kept[sort].areas, this.of(sort), theirs.areas].map(byId);
    const merged = [];
    let lost = 0;
    for (const area of theirs.areas) {
      const [was, own] = [base.get(area.id), mine.get(area.id)];
      const changedHere = !same(own, was);
      if (changedHere && same(area, was)) merged.push(...(own ? [own] : []));
      else {
        if (changedHere && !same(own, area)) lost += 1;
        merged.push(area);
      }
    }
    for (const [id, area] of mine) {
      if (other.has(id)) continue;
      if (!base.has(id)) merged.push(area);
      else if (!same(area, base.get(id))) lost += 1;
    }
    this.take(sort, theirs);
    this.areas = [...this.areas.filter((area) => this.sortOf(area.kind) !== sort), ...merged];
    [this.past, this.future] = [[], []];
    this.say(`Somebody else drew on this slide: their areas are shown now, and yours added.${lost ? ` ${lost} that you both changed are theirs.` : ''}`);
  }

  /** The browser's copy. */
  remember() {
    const key = `wsss-draw:${this.reader}:${this.slide}`;
    try {
      if (this.unsaved) localStorage.setItem(key, JSON.stringify({ kept: this.kept, areas: this.areas, sent: this.sent }));
      else localStorage.removeItem(key);
    } catch {
      // a browser without storage, or too large: it waits in memory alone
    }
  }

  adopt() {
    let copy = null;
    try {
      copy = JSON.parse(localStorage.getItem(`wsss-draw:${this.reader}:${this.slide}`));
    } catch {
      return;
    }
    if (!copy) return;
    for (const sort of SORTS) {
      const before = copy.kept?.[sort];
      if (!before || this.refused[sort] || same(this.of(sort, copy.areas), before.areas)) continue;
      const now = this.kept[sort];
      const mine = this.of(sort, copy.areas);
      this.areas = [...this.areas.filter((area) => this.sortOf(area.kind) !== sort), ...mine];
      if (before.edit === now.edit) continue;
      this.kept[sort] = before;
      this.merge(sort, now);
    }
    this.save();
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
  }
}
