// Hundreds to hundred thousands of thumbnails: only those in sight are in the page.

import { $, afterPaint, confirmed, make, number, plural, setBusy, toast } from './dom.js';
import { model, remember, remembered } from './model.js';
import { Cell, Loader } from './thumbs.js';

const GAP = 6;
const SURE = 1000; // more than so many at once are asked about
const MOST = 5000; // the server takes no more in one step

class Sheet {
  start(openFocus) {
    this.openFocus = openFocus;
    this.scroller = $('sheet');
    this.space = $('sheet-space');
    this.loader = new Loader(this);
    this.cells = new Map(); // index -> Cell
    this.spare = [];
    this.at = 0; // where the keys are
    this.size = remembered('thumb-size', 88);
    $('thumb-size').value = this.size;
    $('thumb-size').addEventListener('input', (event) => this.resize(Number(event.target.value)));
    $('sheet-classes').replaceChildren(
      ...model.classes.map((item) =>
        make(
          'button',
          { class: 'sheet-class', colour: item.css, title: `${item.name} is in all that is selected (${item.key})`, 'data-code': item.code },
          make('kbd', {}, item.key),
          make('span', { class: 'dot', 'aria-hidden': 'true' }),
          item.code,
        ),
      ),
      make('button', { class: 'sheet-class', title: 'Nothing of these (N)', 'data-do': 'none' }, make('kbd', {}, 'N'), 'none'),
      make('button', { class: 'sheet-class', title: 'Artefact (A)', 'data-do': 'artefact' }, make('kbd', {}, 'A'), 'artefact'),
      make('button', { class: 'sheet-class', title: 'Done: what was not said is absent (D)', 'data-do': 'done' }, make('kbd', {}, 'D'), 'rest absent'),
    );
    this.scroller.addEventListener('scroll', () => this.draw(), { passive: true });
    new ResizeObserver(() => this.layout()).observe(this.scroller);
    model.addEventListener('shown', () => {
      this.at = 0;
      this.scroller.scrollTop = 0;
      this.layout(true);
    });
    model.addEventListener('listed', () => this.layout(true));
    model.addEventListener('known', () => this.settle());
    model.addEventListener('selection', () => this.paintSelection());
    model.addEventListener('answers', ({ detail }) => {
      const rows = new Set(detail.rows);
      for (const cell of this.cells.values()) if (rows.has(cell.row)) cell.mark();
    });
    this.mouse();
    this.paintSelection();
  }

  get isLarge() {
    return this.size > 100;
  }

  // --- what is on the screen -----------------------------------------------------------------------

  /** The view was opened. */
  appear() {
    this.hide();
    this.layout();
  }

  /** Other patches stand at these places from now on: what was pressed before that is on the screen is not heard. */
  hide() {
    this.paintedAt = Infinity;
    setBusy(this.scroller, true);
  }

  /** Say when order and thumbnails are on the screen. */
  settle() {
    if (!this.scroller.clientHeight) return;
    afterPaint(() => {
      if (model.isListing) return;
      this.paintedAt = Math.min(this.paintedAt, performance.now());
      if (this.loader.isIdle) setBusy(this.scroller, false);
    });
  }

  /** Whether a key or a button was pressed when all was in its place. */
  sees(time) {
    if (document.body.dataset.view !== 'sheet') return true; // on the map, where nothing moves by itself
    if (time >= this.paintedAt) return true;
    toast('One moment: that was pressed before the patches were in their places.');
    return false;
  }

  // --- drawing -------------------------------------------------------------------------------------

  layout(anew = false) {
    if (anew) this.hide();
    const width = this.scroller.clientWidth;
    if (!width) return;
    const step = this.size + GAP;
    this.columns = Math.max(1, Math.floor((width - GAP) / step));
    this.left = Math.floor((width - this.columns * step + GAP) / 2);
    this.space.style.height = `${Math.ceil(model.shown.length / this.columns) * step + GAP}px`;
    this.space.style.setProperty('--size', `${this.size}px`);
    if (anew) {
      for (const cell of this.cells.values()) this.put(cell);
      this.cells.clear();
    }
    for (const [index, cell] of this.cells) this.locate(cell, index);
    this.draw();
  }

  put(cell) {
    cell.hide();
    if (this.spare.length < 400) this.spare.push(cell);
  }

  locate(cell, index) {
    const step = this.size + GAP;
    const x = this.left + (index % this.columns) * step;
    const y = GAP + Math.floor(index / this.columns) * step;
    cell.element.style.transform = `translate(${x}px, ${y}px)`;
  }

  draw() {
    if (!this.columns || !this.scroller.clientHeight) return;
    const step = this.size + GAP;
    const top = this.scroller.scrollTop;
    const first = Math.max(0, Math.floor(top / step) - 1) * this.columns;
    const last = Math.min(model.shown.length, (Math.ceil((top + this.scroller.clientHeight) / step) + 1) * this.columns);
    for (const [index, cell] of this.cells) {
      if (index < first || index >= last) {
        this.put(cell);
        this.cells.delete(index);
      }
    }
    const fresh = [];
    for (let index = first; index < last; index += 1) {
      if (this.cells.has(index)) continue;
      const cell = this.spare.pop() ?? new Cell(this);
      this.cells.set(index, cell);
      cell.show(model.shown[index], index);
      this.locate(cell, index);
      fresh.push(cell.element);
    }
    this.space.append(...fresh);
    this.pointAt();
    if (!this.loader.isIdle) setBusy(this.scroller, true);
    if (fresh.length || this.paintedAt === Infinity) this.settle();
  }

  resize(size) {
    const first = Math.floor(this.scroller.scrollTop / (this.size + GAP)) * (this.columns ?? 1);
    const other = this.size > 100 !== size > 100;
    this.size = size;
    remember('thumb-size', size);
    this.layout(other);
    this.scroller.scrollTop = Math.floor(first / this.columns) * (size + GAP);
  }

  paintSelection() {
    for (const cell of this.cells.values()) cell.choose();
    const none = model.selection.size === 0;
    for (const button of $('sheet-classes').children) button.disabled = none;
    $('sheet-similar').disabled = none;
    this.pointAt();
  }

  pointAt() {
    if (this.cells.has(this.at)) this.scroller.setAttribute('aria-activedescendant', `thumb-${this.at}`);
    else this.scroller.removeAttribute('aria-activedescendant');
  }

  // --- selecting -----------------------------------------------------------------------------------

  go(index, { extend = false, keep = false } = {}) {
    if (!model.shown.length) return;
    const before = this.at;
    this.at = Math.min(model.shown.length - 1, Math.max(0, index));
    if (extend) this.span(this.anchorOr(before), this.at, keep);
    else if (!keep) model.select([model.shown[this.at]], model.shown[this.at]);
    else this.paintSelection();
    this.reveal();
  }

  /** Where a span begins. */
  anchorOr(index) {
    const place = model.anchor === null ? -1 : model.place(model.anchor);
    return place < 0 ? index : place;
  }

  reveal() {
    const step = this.size + GAP;
    const y = GAP + Math.floor(this.at / this.columns) * step;
    const { scrollTop, clientHeight } = this.scroller;
    if (y < scrollTop + GAP) this.scroller.scrollTop = y - GAP;
    else if (y + step > scrollTop + clientHeight) this.scroller.scrollTop = y + step - clientHeight;
    this.draw();
  }

  span(from, to, keep = false) {
    const rows = new Set(keep ? model.selection : []);
    for (let index = Math.min(from, to); index <= Math.max(from, to); index += 1) rows.add(model.shown[index]);
    model.select(rows, model.shown[from]);
  }

  toggle(index) {
    const row = model.shown[index];
    const rows = new Set(model.selection);
    if (!rows.delete(row)) rows.add(row);
    this.at = index;
    model.select(rows, row);
  }

  mouse() {
    const band = make('div', { class: 'band', hidden: true });
    this.space.append(band);
    let from = null;
    let before = null;
    const where = (event) => {
      const box = this.space.getBoundingClientRect();
      return { x: event.clientX - box.left, y: event.clientY - box.top };
    };
    const indexAt = ({ x, y }) => {
      const step = this.size + GAP;
      const column = Math.floor((x - this.left) / step);
      const inside = column >= 0 && column < this.columns && (x - this.left) % step <= this.size && y >= GAP && (y - GAP) % step <= this.size;
      const index = Math.floor((y - GAP) / step) * this.columns + column;
      return inside && index < model.shown.length ? index : -1;
    };
    this.scroller.addEventListener('pointerdown', (event) => {
      if (event.button !== 0 || event.pointerType === 'touch' || !this.sees(event.timeStamp)) return;
      const box = this.scroller.getBoundingClientRect();
      if (event.clientX - box.left > this.scroller.clientWidth) return; // the scroll bar
      from = where(event);
      before = event.ctrlKey || event.metaKey || event.shiftKey ? new Set(model.selection) : new Set();
      this.moved = false;
      this.scroller.setPointerCapture(event.pointerId);
    });
    this.scroller.addEventListener('pointermove', (event) => {
      if (!from) return;
      const to = where(event);
      if (!this.moved && Math.hypot(to.x - from.x, to.y - from.y) < 6) return;
      this.moved = true;
      const box = this.scroller.getBoundingClientRect();
      if (event.clientY > box.bottom - 20) this.scroller.scrollTop += 20;
      if (event.clientY < box.top + 20) this.scroller.scrollTop -= 20;
      const [x0, x1] = [Math.min(from.x, to.x), Math.max(from.x, to.x)];
      const [y0, y1] = [Math.min(from.y, to.y), Math.max(from.y, to.y)];
      band.hidden = false;
      band.style.transform = `translate(${x0}px, ${y0}px)`;
      band.style.width = `${x1 - x0}px`;
      band.style.height = `${y1 - y0}px`;
      this.space.append(band);
      model.select(this.inside(x0, y0, x1, y1, before));
    });
    const end = (event) => {
      if (!from) return;
      from = null;
      band.hidden = true;
      if (this.moved || event.type === 'pointercancel') return;
      const index = indexAt(where(event));
      if (index >= 0) this.clicked(index, event);
      else if (!event.ctrlKey && !event.shiftKey && !event.metaKey) model.select([], null);
    };
    this.scroller.addEventListener('pointerup', end);
    this.scroller.addEventListener('pointercancel', end);
    this.scroller.addEventListener('click', (event) => {
      if (event.pointerType !== 'touch' || !this.sees(event.timeStamp)) return; // a finger chooses one more, or one less
      const index = indexAt(where(event));
      if (index >= 0) this.toggle(index);
    });
    this.scroller.addEventListener('dblclick', (event) => {
      const index = indexAt(where(event));
      if (index >= 0) this.openFocus(model.shown[index]);
    });
  }

  clicked(index, event) {
    this.at = index;
    if (event.shiftKey) {
      this.span(this.anchorOr(index), index, event.ctrlKey || event.metaKey);
    } else if (event.ctrlKey || event.metaKey) this.toggle(index);
    else model.select([model.shown[index]], model.shown[index]);
  }

  inside(x0, y0, x1, y1, before) {
    const step = this.size + GAP;
    const rows = new Set(before);
    const columns = [Math.ceil((x0 - this.left - this.size) / step), Math.floor((x1 - this.left) / step)];
    const lines = [Math.ceil((y0 - GAP - this.size) / step), Math.floor((y1 - GAP) / step)];
    for (let line = Math.max(0, lines[0]); line <= lines[1]; line += 1) {
      for (let column = Math.max(0, columns[0]); column <= Math.min(this.columns - 1, columns[1]); column += 1) {
        const row = model.shown[line * this.columns + column];
        if (row !== undefined) rows.add(row);
      }
    }
    return rows;
  }

  /** Whether the key was one of the sheet's. */
  key(event, key) {
    const moves = { arrowleft: -1, arrowright: 1, arrowup: -this.columns, arrowdown: this.columns };
    const page = this.columns * Math.max(1, Math.floor(this.scroller.clientHeight / (this.size + GAP)));
    Object.assign(moves, { pageup: -page, pagedown: page, home: -Infinity, end: Infinity });
    const command = event.ctrlKey || event.metaKey;
    const time = event.timeStamp;
    if ((key in moves || ['space', 'enter', 'd', 'n', '0'].includes(key) || (command && key === 'a')) && !this.sees(time)) return true;
    if (key in moves) this.go(this.at + moves[key], { extend: event.shiftKey, keep: command });
    else if (key === 'space') this.toggle(this.at);
    else if (command && key === 'a') model.select(model.shown);
    else if (command) return false;
    else if (key === 'escape') model.select([], null);
    else if (key === 'enter' && model.shown.length) this.openFocus(model.shown[this.at]);
    else if (key === 'd') this.done(time);
    else if (key === 'n' || key === '0') this.none(time);
    else return false;
    return true;
  }

  // --- answering -----------------------------------------------------------------------------------

  async give(said, what, rows = [...model.selection]) {
    if (!rows.length) {
      toast('Select patches first.');
      return;
    }
    if (rows.length > MOST) {
      toast(`${number(rows.length)} are selected: at most ${number(MOST)} can be answered at once.`, true);
      return;
    }
    if (rows.length > SURE && !(await confirmed('So many at once?', `${number(rows.length)} patches are selected. All of them get: ${what}.`, `Answer all ${number(rows.length)}`))) return;
    const each = typeof said === 'function' ? Object.fromEntries(rows.map((row) => [row, said(row)])) : null;
    const same = each && new Set(Object.values(each).map((item) => JSON.stringify(Object.entries(item).sort()))).size === 1;
    const drawn = model.set?.drawn ?? 'search';
    const classes = each ? (same ? each[rows[0]] : {}) : said.classes;
    model.answer(rows, { classes, each: same ? null : each, artefact: said.artefact ?? null, drawn }).catch(() => {});
    toast(`${plural(rows.length, 'patch', 'patches')}: ${what}`);
  }

  held(row) {
    return model.mine.get(row)?.artefact ? {} : (model.mine.get(row)?.classes ?? {});
  }

  /** A class for all that is selected: present; where all have it: unsure; then absent. */
  press(code, time = performance.now()) {
    if (!this.sees(time)) return;
    const rows = [...model.selection];
    const all = (state) => rows.every((row) => this.held(row)[code] === state);
    const state = all('present') ? 'unsure' : all('unsure') ? 'absent' : 'present';
    return this.give((row) => ({ ...this.held(row), [code]: state }), `${model.byCode.get(code).name} ${state}`);
  }

  done(time = performance.now()) {
    if (!this.sees(time)) return;
    const absent = Object.fromEntries(model.classes.map(({ code }) => [code, 'absent']));
    return this.give((row) => ({ ...absent, ...this.held(row) }), 'what was not said is absent');
  }

  none(time = performance.now()) {
    if (!this.sees(time)) return;
    return this.give({ classes: Object.fromEntries(model.classes.map(({ code }) => [code, 'absent'])) }, 'nothing of these');
  }

  artefact(kind, rows) {
    return this.give({ classes: {}, artefact: kind }, `artefact (${kind})`, rows);
  }
}

export const sheet = new Sheet();
