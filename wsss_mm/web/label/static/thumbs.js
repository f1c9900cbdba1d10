// Thumbnails of the sheet: how they are loaded, and what stands on them.

import { make } from './dom.js';
import { ARTEFACT, model, SIGNS, SKIPPED, STATE_NAMES } from './model.js';
import { versioned } from './net.js';
import { url } from './pictures.js';

const AT_ONCE = 3; // pictures that load side by side
const IN_ONE = 64; // thumbnails of one picture
const LINE = 16; // of them in a line
const SMALL = 64; // px of each
const KEPT = 3000; // thumbnails in memory
const SETTLE = 40; // ms that the sheet must stand still before it loads

/** Thumbnails: many small ones as one picture from the server, large ones by themselves. */
export class Loader {
  constructor(sheet) {
    this.sheet = sheet;
    this.small = new Map(); // row -> 64 px
    this.wanted = new Set(); // cells
    this.running = 0;
  }

  /** Whether no thumbnail is on its way. */
  get isIdle() {
    return !this.wanted.size && !this.running;
  }

  ask(cell) {
    this.wanted.add(cell);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.work(), SETTLE);
  }

  forget(cell) {
    this.wanted.delete(cell);
  }

  work() {
    while (this.wanted.size && this.running < AT_ONCE) {
      const cells = [...this.wanted].slice(0, this.sheet.isLarge ? 1 : IN_ONE);
      for (const cell of cells) this.wanted.delete(cell);
      this.running += 1;
      const load = this.sheet.isLarge ? this.large(cells[0]) : this.sprite(cells);
      load.catch(() => {}).then(() => {
        this.running -= 1;
        this.work();
        if (this.isIdle) this.sheet.settle();
      });
    }
  }

  async large(cell) {
    const { row } = cell;
    const image = new Image();
    image.src = url(row, 'patch');
    await image.decode();
    if (cell.row === row) cell.paint(image);
  }

  async sprite(cells) {
    const rows = cells.map((cell) => cell.row);
    const image = new Image();
    image.src = versioned(`/sprite.jpg?rows=${rows.join(',')}`);
    await image.decode();
    await Promise.all(
      rows.map(async (row, at) => {
        const bitmap = await createImageBitmap(image, (at % LINE) * SMALL, Math.floor(at / LINE) * SMALL, SMALL, SMALL);
        this.small.set(row, bitmap);
      }),
    );
    while (this.small.size > KEPT) {
      const [row, bitmap] = this.small.entries().next().value;
      this.small.delete(row);
      bitmap.close();
    }
    cells.forEach((cell, at) => cell.row === rows[at] && cell.paint(this.small.get(rows[at])));
  }
}

/** A small sign; the thumbnail's label says the same in words. */
const badge = (text, kind = 'plain', colour = null) => make('span', { class: `badge ${kind}`, 'data-text': text, colour: colour ?? undefined });

export class Cell {
  constructor(sheet) {
    this.row = -1;
    this.picture = make('canvas', { class: 'thumb-picture', 'aria-hidden': 'true' });
    this.badges = make('div', { class: 'badges', 'aria-hidden': 'true' });
    this.element = make('div', { class: 'thumb', role: 'option' }, this.picture, this.badges);
    this.sheet = sheet;
  }

  /** Draw a thumbnail, or with none leave its place empty. */
  paint(image = null) {
    this.element.classList.toggle('is-empty', !image);
    if (!image) return;
    this.picture.width = image.width;
    this.picture.height = image.height;
    this.picture.getContext('2d').drawImage(image, 0, 0);
  }

  show(row, index) {
    if (row === this.row && index === this.index) return;
    this.index = index;
    const element = this.element;
    element.id = `thumb-${index}`;
    element.setAttribute('aria-posinset', index + 1);
    element.setAttribute('aria-setsize', model.shown.length);
    if (row !== this.row) {
      this.row = row;
      const small = this.sheet.isLarge ? null : this.sheet.loader.small.get(row);
      this.paint(small);
      if (small) this.sheet.loader.forget(this);
      else this.sheet.loader.ask(this);
      this.mark();
    }
    this.choose();
  }

  choose() {
    const chosen = model.selection.has(this.row);
    this.element.classList.toggle('is-chosen', chosen);
    this.element.setAttribute('aria-selected', String(chosen));
    this.element.classList.toggle('is-at', this.index === this.sheet.at);
  }

  /** What this reader said of it: a coloured sign and the class's code. */
  mark() {
    const { row } = this;
    const mine = model.mine.get(row);
    const state = model.rowState[row];
    const badges = [];
    const words = [];
    if (mine?.artefact) {
      badges.push(badge(`✕ ${mine.artefact}`));
      words.push(`artefact ${mine.artefact}`);
    } else if (mine) {
      for (const { code, name, css } of model.classes) {
        const said = mine.classes[code];
        if (!said || said === 'absent') continue;
        badges.push(badge(`${SIGNS[said]}${code}`, said, css));
        words.push(`${name} ${said}`);
      }
      if (!badges.length) {
        badges.push(badge('∅ none'));
        words.push('nothing of these');
      }
    } else if (state === SKIPPED) {
      badges.push(badge('↷ skipped'));
      words.push('skipped');
    }
    this.element.dataset.state = state;
    this.element.classList.toggle('is-spoilt', state === ARTEFACT);
    this.badges.replaceChildren(...badges);
    this.element.setAttribute('aria-label', `${model.slideOf(row).id}, ${words.join(', ') || STATE_NAMES[state]}`);
  }

  hide() {
    this.row = this.index = -1;
    this.sheet.loader.forget(this);
    this.element.remove();
  }
}
