// All patches as points: what looks alike lies together.

import { $, afterPaint, make, number, options, plural, setBusy } from './dom.js';
import { Cloud } from './map-cloud.js';
import { model, STATE_NAMES } from './model.js';
import { get } from './net.js';
import { picture, url } from './pictures.js';

const NEAR = 9; // px

class Atlas {
  start(toSheet) {
    this.canvas = $('map');
    this.context = this.canvas.getContext('2d', { alpha: false });
    this.view = { scale: 1, x: 0, y: 0 };
    this.mode = 'lasso';
    this.lasso = null;
    this.points = null;
    this.tones = new Map();
    this.tone = (name) => this.toneOf(name);
    options($('map-class'), model.classes.map((item) => [item.code, item.name]), model.classes[0]?.code);
    for (const id of ['map-colour', 'map-class']) $(id).addEventListener('change', () => this.recolour());
    for (const button of document.querySelectorAll('[data-mode]')) {
      button.addEventListener('click', () => this.setMode(button.dataset.mode));
      button.addEventListener('keydown', (event) => {
        if (!event.key.startsWith('Arrow')) return;
        event.preventDefault();
        this.setMode(this.mode === 'lasso' ? 'pan' : 'lasso');
        document.querySelector(`[data-mode="${this.mode}"]`).focus();
      });
    }
    $('map-in').addEventListener('click', () => this.zoom(1.5));
    $('map-out').addEventListener('click', () => this.zoom(1 / 1.5));
    $('map-all').addEventListener('click', () => this.fit());
    $('map-in-view').addEventListener('click', () => this.selectInView());
    $('map-to-sheet').addEventListener('click', toSheet);
    new ResizeObserver(() => this.resize()).observe(this.canvas);
    for (const name of ['shown', 'answers']) model.addEventListener(name, () => this.recolour());
    model.addEventListener('selection', () => {
      $('map-to-sheet').disabled = model.selection.size === 0;
      this.redraw();
    });
    model.addEventListener('focus', () => this.redraw());
    addEventListener('themechange', () => {
      this.tones.clear();
      this.recolour();
    });
    this.mouse();
  }

  /** A colour of the style sheet, or one that is light or dark as the page is, as the canvas takes it. */
  toneOf(name) {
    if (!this.tones.has(name)) {
      const probe = make('span');
      probe.style.color = name.startsWith('--') ? `var(${name})` : name;
      this.canvas.parentElement.append(probe);
      this.tones.set(name, getComputedStyle(probe).color);
      probe.remove();
    }
    return this.tones.get(name);
  }

  setMode(mode) {
    this.mode = mode;
    this.canvas.classList.toggle('is-pan', mode === 'pan');
    for (const button of document.querySelectorAll('[data-mode]')) {
      const chosen = button.dataset.mode === mode;
      button.setAttribute('aria-checked', String(chosen));
      button.tabIndex = chosen ? 0 : -1;
    }
  }

  /** When the view is opened. */
  async open() {
    this.isOpen = true;
    this.resize();
    if (!this.points) await this.load();
    else if (this.isStale) this.recolour();
  }

  close() {
    this.isOpen = false;
    clearTimeout(this.again);
  }

  async load() {
    this.isLoading = true;
    setBusy(this.canvas, true);
    this.isLoading = await this.fetch();
    this.redraw();
  }

  /** Ask for the points; whether they are still to come. */
  async fetch() {
    const note = $('map-note');
    note.hidden = false;
    note.textContent = 'Drawing the map …';
    let said;
    try {
      said = await get('/api/embedding');
    } catch (error) {
      note.textContent = `The map cannot be drawn: ${error.message}`;
      return false;
    }
    if (!said?.points) {
      const share = said?.progress;
      note.textContent = share ? `The patches are being looked at: ${Math.round(share * 100)} %. You can label meanwhile.` : 'The patches are being looked at. You can label meanwhile.';
      if (this.isOpen) this.again = setTimeout(() => this.load(), 1500);
      return true;
    }
    const bytes = Uint8Array.from(atob(said.points), (letter) => letter.charCodeAt(0));
    this.cloud = new Cloud(new Float32Array(bytes.buffer));
    this.points = this.cloud.points;
    note.hidden = true;
    this.fit();
    this.recolour();
    return false;
  }

  // --- drawing -------------------------------------------------------------------------------------

  resize() {
    const { clientWidth, clientHeight } = this.canvas;
    if (!clientWidth) return;
    const ratio = devicePixelRatio || 1;
    if (this.canvas.width !== Math.round(clientWidth * ratio) || this.canvas.height !== Math.round(clientHeight * ratio)) {
      const first = !this.width;
      this.canvas.width = Math.round(clientWidth * ratio);
      this.canvas.height = Math.round(clientHeight * ratio);
      [this.width, this.height] = [clientWidth, clientHeight];
      if (first) this.fit();
    }
    this.redraw();
  }

  fit() {
    if (!this.width) return;
    const [x0, x1, y0, y1] = this.cloud?.extent ?? [0, 1, 0, 1];
    const scale = 0.94 * Math.min(this.width / (x1 - x0), this.height / (y1 - y0));
    this.view = { scale, x: (this.width - scale * (x0 + x1)) / 2, y: (this.height - scale * (y0 + y1)) / 2 };
    this.redraw();
  }

  /** Colours of the groups, and the group of each row. */
  recolour() {
    this.isStale = !this.isOpen;
    if (!this.points || !this.isOpen) return;
    const { tone } = this;
    const by = $('map-colour').value;
    $('map-class-field').hidden = by !== 'class';
    const quiet = tone('--map-quiet');
    let groups, of;
    if (by === 'class') {
      const chosen = model.byCode.get($('map-class').value);
      const order = { present: 1, unsure: 2, absent: 3 };
      groups = [['not said', quiet], [`${chosen.code} present`, chosen.css], [`${chosen.code} unsure`, tone('--map-unsure')], [`${chosen.code} absent`, tone('--map-absent')]];
      of = (row) => order[model.mine.get(row)?.classes?.[chosen.code]] ?? 0;
    } else if (by === 'state') {
      groups = STATE_NAMES.map((name, index) => [name, [quiet, tone('--map-answered'), tone('--map-skipped'), tone('--map-artefact')][index]]);
      of = (row) => model.rowState[row];
    } else {
      const name = by === 'site' ? (slide) => slide.site ?? 'unknown' : (slide) => slide.id;
      const names = [...new Set(model.slides.map(name))];
      const index = model.slides.map((slide) => names.indexOf(name(slide)));
      const hue = (at) => (at * 137.5 + 200) % 360;
      groups = names.map((text, at) => [text, tone(`light-dark(hsl(${hue(at)} 60% 42%), hsl(${hue(at)} 60% 64%))`)]);
      of = (row) => index[model.slide[row]];
    }
    this.colours = groups.map(([, colour]) => colour);
    this.group = new Uint16Array(model.count);
    const counts = groups.map(() => 0);
    for (let row = 0; row < model.count; row += 1) {
      this.group[row] = of(row);
      if (model.isShown[row]) counts[this.group[row]] += 1;
    }
    const many = groups.length > 12 ? groups.slice(0, 12) : groups;
    $('map-legend').replaceChildren(
      ...many.map(([text, colour], at) => make('li', { colour }, make('span', { class: 'dot', 'aria-hidden': 'true' }), `${text} `, make('span', { class: 'muted' }, number(counts[at])))),
      ...(groups.length > 12 ? [make('li', { class: 'muted' }, `and ${groups.length - 12} more`)] : []),
    );
    this.redraw();
  }

  redraw() {
    if (this.asked || !this.isOpen) return;
    this.asked = true;
    setBusy(this.canvas, true);
    requestAnimationFrame(() => {
      this.asked = false;
      this.draw();
      afterPaint(() => this.asked || this.isLoading || setBusy(this.canvas, false));
    });
  }

  draw() {
    const paint = this.context;
    const ratio = this.canvas.width / this.width;
    const { tone } = this;
    paint.setTransform(ratio, 0, 0, ratio, 0, 0);
    paint.fillStyle = tone('--map-ground');
    paint.fillRect(0, 0, this.width, this.height);
    if (!this.points || !this.colours) return;
    const { scale, x, y } = this.view;
    const few = model.count < 2000 ? 5 : model.count < 10000 ? 3 : 1.6;
    const size = Math.min(8, few + (scale / this.width) * 0.4);
    const half = size / 2;
    const { points, group, width, height } = this;
    const { isShown, selection } = model;
    const buckets = this.colours.map(() => []);
    const faded = [];
    for (let row = 0; row < model.count; row += 1) {
      const px = points[2 * row] * scale + x;
      const py = points[2 * row + 1] * scale + y;
      if (px < -size || py < -size || px > width + size || py > height + size) continue;
      (isShown[row] ? buckets[group[row]] : faded).push(px - half, py - half);
    }
    const dots = (list, colour) => {
      paint.fillStyle = colour;
      for (let index = 0; index < list.length; index += 2) paint.fillRect(list[index], list[index + 1], size, size);
    };
    dots(faded, tone('--map-faded'));
    buckets.forEach((list, at) => dots(list, this.colours[at]));
    if (selection.size) {
      const chosen = [];
      for (const row of selection) chosen.push(points[2 * row] * scale + x - half, points[2 * row + 1] * scale + y - half);
      dots(chosen, tone('--map-selected'));
      if (selection.size < 1000) {
        paint.strokeStyle = tone('--map-selected');
        paint.lineWidth = 1;
        paint.beginPath();
        for (let at = 0; at < chosen.length; at += 2) paint.rect(chosen[at] - 1.5, chosen[at + 1] - 1.5, size + 3, size + 3);
        paint.stroke();
      }
    }
    const { current } = model;
    if (current !== null) {
      paint.strokeStyle = tone('--map-chosen');
      paint.lineWidth = 2;
      paint.beginPath();
      paint.arc(points[2 * current] * scale + x, points[2 * current + 1] * scale + y, 9, 0, 2 * Math.PI);
      paint.stroke();
    }
    if (this.lasso?.length > 1) {
      paint.beginPath();
      this.lasso.forEach(([lx, ly]) => paint.lineTo(lx * scale + x, ly * scale + y));
      paint.closePath();
      paint.fillStyle = tone('--map-lasso-fill');
      paint.fill();
      paint.setLineDash([6, 4]);
      paint.lineWidth = 2;
      paint.strokeStyle = tone('--map-chosen');
      paint.stroke();
      paint.setLineDash([]);
    }
  }

  // --- mouse and keys ------------------------------------------------------------------------------

  at(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  place([px, py]) {
    return [(px - this.view.x) / this.view.scale, (py - this.view.y) / this.view.scale];
  }

  mouse() {
    const canvas = this.canvas;
    let from = null;
    canvas.addEventListener('pointerdown', (event) => {
      if (!this.points || event.button > 1) return;
      canvas.setPointerCapture(event.pointerId);
      const spot = this.at(event);
      from = { spot, view: { ...this.view }, pan: this.mode === 'pan' || event.button === 1 };
      this.hover(null);
      if (!from.pan) this.lasso = [this.place(spot)];
    });
    canvas.addEventListener('pointermove', (event) => {
      const spot = this.at(event);
      if (!from) {
        this.hover(spot);
        return;
      }
      if (from.pan) this.view = { ...this.view, x: from.view.x + spot[0] - from.spot[0], y: from.view.y + spot[1] - from.spot[1] };
      else this.lasso.push(this.place(spot));
      this.redraw();
    });
    const end = (event) => {
      if (!from) return;
      const { pan, spot } = from;
      from = null;
      const moved = Math.hypot(...this.at(event).map((value, index) => value - spot[index])) > 4 || this.lasso?.length > 6;
      const polygon = this.lasso;
      this.lasso = null;
      if (event.type === 'pointerup' && !moved) {
        const row = this.nearest(spot);
        if (row !== null) model.select(event.ctrlKey || event.shiftKey ? new Set([...model.selection, row]) : [row], row);
        else if (!pan) model.select([], null);
      } else if (!pan && event.type === 'pointerup') this.selectIn(polygon, event.ctrlKey || event.shiftKey);
      this.redraw();
    };
    canvas.addEventListener('pointerup', end);
    canvas.addEventListener('pointercancel', end);
    canvas.addEventListener('pointerleave', () => this.hover(null));
    canvas.addEventListener(
      'wheel',
      (event) => {
        event.preventDefault();
        this.zoom(Math.exp(-event.deltaY / 400), ...this.at(event));
      },
      { passive: false },
    );
  }

  zoom(factor, px = this.width / 2, py = this.height / 2) {
    const scale = Math.min(60, Math.max(0.5, (this.view.scale * factor) / this.width)) * this.width;
    const real = scale / this.view.scale;
    this.view = { scale, x: px - (px - this.view.x) * real, y: py - (py - this.view.y) * real };
    this.hover(null);
    this.redraw();
  }

  nearest(spot) {
    return this.cloud?.nearest(this.place(spot), NEAR / this.view.scale, model.isShown) ?? null;
  }

  hover(spot) {
    const row = spot && this.points ? this.nearest(spot) : null;
    const card = $('map-hover');
    if (row === null) {
      card.hidden = true;
      this.hovered = null;
      return;
    }
    card.style.transform = `translate(${Math.min(spot[0] + 16, this.width - 180)}px, ${Math.min(spot[1] + 16, this.height - 200)}px)`;
    card.hidden = false;
    if (row === this.hovered) return;
    this.hovered = row;
    const thumb = picture(url(row, 'patch'));
    card.querySelector('.hover-picture').replaceChildren();
    thumb.ready.then((image) => {
      if (this.hovered === row) card.querySelector('.hover-picture').replaceChildren(image.cloneNode());
    }, () => {});
    const said = Object.entries(model.mine.get(row)?.classes ?? {}).filter(([, state]) => state !== 'absent').map(([code, state]) => (state === 'unsure' ? `${code}?` : code));
    card.querySelector('p').textContent = `${model.slideOf(row).id} · ${said.join(' ') || STATE_NAMES[model.rowState[row]]}`;
  }

  selectIn(polygon, more = false) {
    const rows = new Set(more ? model.selection : []);
    for (const row of this.cloud.inside(polygon)) if (model.isShown[row]) rows.add(row);
    model.select(rows, null);
    $('toast').textContent = `${plural(rows.size, 'patch', 'patches')} selected`;
  }

  selectInView() {
    if (!this.points) return;
    const [x0, y0] = this.place([0, 0]);
    const [x1, y1] = this.place([this.width, this.height]);
    this.selectIn([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]);
  }

  key(event, key) {
    const pan = { arrowleft: [60, 0], arrowright: [-60, 0], arrowup: [0, 60], arrowdown: [0, -60] }[key];
    if (pan) {
      this.view = { ...this.view, x: this.view.x + pan[0], y: this.view.y + pan[1] };
      this.redraw();
    } else if (key === '+' || key === '=') this.zoom(1.3);
    else if (key === '-') this.zoom(1 / 1.3);
    else if (key === 'escape') model.select([], null);
    else return false;
    return true;
  }
}

export const atlas = new Atlas();
