// Draw on a slide: areas with a class, and regions of interest.

import { Book } from './draw-book.js';
import { Hand } from './draw-hand.js';
import { Painter } from './draw-paint.js';
import { surface } from './draw-rings.js';
import { loadScript, View } from './draw-view.js';
import { $, afterPaint, confirmed, make, number, options, plural, setBusy, toast } from './dom.js';
import { isPressing } from './keys.js';
import { model, remember, remembered } from './model.js';
import { get, Refused } from './net.js';

const TOOLS = { v: 'move', s: 'select', a: 'polygon', b: 'brush', e: 'eraser', n: 'snap' };
const KEYS = 'Space works in the middle of the picture, arrows move it, Enter closes an outline.';
const HINTS = {
  move: 'Drag to move, wheel or two fingers to zoom.',
  select: 'Click an area to choose it; drag its corners; a class button gives it another class; Delete removes it.',
  polygon: 'Click for each corner, or drag along the edge; click the first corner, or Enter, to close.',
  brush: 'Paint. A stroke that touches the chosen area of the same class adds to it.',
  eraser: 'Takes away from the chosen area, or, if none is chosen, from all that have a class.',
  snap: 'Click a region of the segmentation to take it over, then correct it.',
};

class Draw {
  start() {
    this.stage = $('draw-stage');
    this.canvas = $('draw-canvas');
    this.painter = new Painter(this.canvas);
    this.tool = 'move';
    this.chosen = null;
    this.opening = 0; // slides, or the list of them
    this.hand = new Hand(this, this.canvas);
    for (const button of document.querySelectorAll('button[data-tool]')) button.addEventListener('click', () => this.use(button.dataset.tool));
    $('draw-slide').addEventListener('change', (event) => this.openSlide(Number(event.target.value)));
    $('draw-width').addEventListener('input', () => this.redraw());
    $('draw-undo').addEventListener('click', () => this.undo());
    $('draw-redo').addEventListener('click', () => this.redo());
    $('draw-again').addEventListener('click', () => this.book.save());
    $('draw-close').addEventListener('click', () => this.hand.closeOutline());
    $('draw-delete').addEventListener('click', () => this.remove());
    $('draw-in').addEventListener('click', () => this.zoom(1.5));
    $('draw-out').addEventListener('click', () => this.zoom(1 / 1.5));
    $('draw-whole').addEventListener('click', () => this.view?.home());
    $('draw-patch').addEventListener('click', () => this.goToPatch());
    new ResizeObserver(() => this.resize()).observe(this.stage);
    addEventListener('themechange', () => this.redraw());
    this.stage.addEventListener('focus', () => this.redraw());
    this.stage.addEventListener('blur', () => this.redraw());
    addEventListener('beforeunload', (event) => {
      if (this.book?.unsaved && this.book.state !== 'refused') event.preventDefault();
    });
    this.use('move');
  }

  // --- opening -------------------------------------------------------------------------------------

  open() {
    return this.while(() => this.begin());
  }

  /** Nothing is drawn while slides change: it would lie on another one than is seen. */
  async while(act) {
    this.opening += 1;
    setBusy(this.stage, true);
    try {
      return await act();
    } finally {
      this.opening -= 1;
      this.settle();
    }
  }

  get isBusy() {
    return this.opening > 0 || this.moving || this.asked || this.hand.pending.length > 0;
  }

  settle() {
    if (!this.isBusy) afterPaint(() => this.isBusy || setBusy(this.stage, false));
  }

  async begin() {
    this.isOpen = true;
    this.resize();
    this.stage.focus({ preventScroll: true });
    if (!this.listed) this.listed = this.list();
    if (!(await this.listed)) return;
    const patch = this.patch();
    if (patch && patch.key !== this.shownPatch) {
      this.shownPatch = patch.key;
      if (patch.slide !== this.number) await this.openSlide(patch.slide);
      this.goToPatch();
    } else if (this.number === undefined) {
      const last = this.slides.findIndex((slide) => slide.id === remembered('draw-slide', ''));
      await this.openSlide(Math.max(last, 0));
    }
    this.redraw();
  }

  close() {
    this.isOpen = false;
  }

  note(text) {
    $('draw-note').textContent = text;
    $('draw-note').hidden = !text;
  }

  async list() {
    this.note('Opening …');
    try {
      const said = await get('/api/draw');
      if (!said.script) throw new Refused('OpenSeadragon, which shows slides, is missing on the server: fetch it with `make setup`');
      if (!said.slides.length) throw new Refused('the cohort has no slides whose files are known');
      await loadScript();
      this.slides = said.slides;
      this.kinds = new Map(said.kinds.map((kind) => [kind.code, kind]));
    } catch (error) {
      this.note(`Nothing can be drawn: ${error.message}`);
      this.listed = null;
      return false;
    }
    this.kind = this.kinds.keys().next().value;
    options($('draw-slide'), this.slides.map((slide, at) => [String(at), this.titleOf(slide)]), '0');
    $('draw-kinds').replaceChildren(
      ...[...this.kinds.values()].map((kind, at) =>
        make('button', { class: 'draw-kind', colour: kind.color, 'data-kind': kind.code, 'aria-pressed': 'false', onclick: () => this.setKind(kind.code), title: kind.name }, this.keyOf(kind, at) && make('kbd', {}, this.keyOf(kind, at)), make('span', { class: 'dot', 'aria-hidden': 'true' }), make('span', { class: 'draw-name' }, kind.name)),
      ),
    );
    this.setKind(this.kind);
    return true;
  }

  keyOf(kind, at) {
    return kind.code === 'roi' ? '0' : at < 9 ? String(at + 1) : '';
  }

  titleOf(slide) {
    const drawn = [slide.masks && 'mask', slide.regions && 'region'].filter(Boolean);
    return [slide.id, slide.split, ...drawn].filter(Boolean).join(' · ');
  }

  openSlide(at) {
    return this.while(() => this.change(at));
  }

  async change(at) {
    if (this.book?.unsaved && this.book.state !== 'refused') {
      toast(`What you drew is not saved yet: ${this.book.stopped ? 'try again' : 'wait a moment'}, then open the other slide.`, true);
      $('draw-slide').value = String(this.number);
      return;
    }
    this.note('Opening …');
    let said;
    try {
      said = await get(`/api/draw/${at}`);
    } catch (error) {
      this.note(`This slide cannot be shown: ${error.message}`);
      return;
    }
    this.hand.cancelStroke();
    this.book?.close();
    this.hand.dropOutline();
    this.chosen = null;
    this.number = at;
    this.about = said;
    remember('draw-slide', said.id);
    $('draw-slide').value = String(at);
    this.book = new Book(model.reader, at, said, (kind) => this.kinds.get(kind)?.sort ?? 'masks');
    this.book.addEventListener('change', () => this.changed());
    this.book.addEventListener('said', ({ detail }) => toast(detail));
    this.book.addEventListener('refused', ({ detail }) => this.refused(detail));
    const errors = Object.values(this.book.refused);
    $('draw-error').hidden = !errors.length;
    $('draw-error').textContent = errors.join(' ');
    document.querySelector('button[data-tool="snap"]').disabled = !said.segmented;
    document.querySelector('button[data-tool="snap"]').title = said.segmented ? 'Take over from the segmentation (N)' : 'This slide is not segmented yet';
    if (!said.segmented && this.tool === 'snap') this.use('move');
    this.view ??= new View($('draw-slide-picture'), {
      frame: () => this.draw(),
      moves: () => this.redraw(),
      begins: () => {
        this.moving = true;
        setBusy(this.stage, true);
      },
      ends: () => {
        this.moving = false;
        this.redraw();
      },
    });
    await this.view.open(said, (level, x, y) => `./draw/${this.number}/${level}/${x}_${y}.jpeg?s=${encodeURIComponent(said.id)}`);
    $('draw-width').value = remembered('draw-width', 100);
    this.note('');
    this.changed();
  }

  /** The patch that Focus shows. */
  patch() {
    const row = model.current;
    if (row === null || row === undefined) return null;
    const id = model.slideOf(row)?.id;
    const slide = this.slides.findIndex((one) => one.id === id);
    return slide < 0 ? null : { row, slide, key: `${id} ${model.x[row]} ${model.y[row]}` };
  }

  async goToPatch() {
    const patch = this.patch();
    if (!patch) return;
    if (patch.slide !== this.number) await this.openSlide(patch.slide);
    const { span } = await get(`/api/patch/${patch.row}`).catch(() => ({ span: 1000 }));
    const [x, y] = [model.x[patch.row] - this.about.origin[0], model.y[patch.row] - this.about.origin[1]];
    this.marked = { slide: patch.slide, x, y, span };
    this.view.show([x - 1.5 * span, y - 1.5 * span, x + 2.5 * span, y + 2.5 * span], true);
    this.redraw();
  }

  // --- what is chosen ------------------------------------------------------------------------------

  use(tool) {
    if (tool !== 'polygon' && this.hand.corners.length && this.tool === 'polygon') this.hand.dropOutline();
    this.tool = tool;
    for (const button of document.querySelectorAll('button[data-tool]')) button.setAttribute('aria-pressed', String(button.dataset.tool === tool));
    this.canvas.dataset.tool = tool;
    this.canvas.classList.toggle('lets-through', tool === 'move');
    $('draw-width-field').hidden = tool !== 'brush' && tool !== 'eraser';
    this.hint();
    this.redraw();
  }

  hint() {
    $('draw-hint').replaceChildren(HINTS[this.tool], this.tool === 'move' ? '' : make('span', { class: 'draw-keys' }, ` ${KEYS}`));
    $('draw-close').hidden = this.tool !== 'polygon' || this.hand.corners.length < 3;
  }

  setKind(code) {
    this.kind = code;
    for (const button of $('draw-kinds').children) button.setAttribute('aria-pressed', String(button.dataset.kind === code));
    const area = this.area();
    if (area && area.kind !== code && this.tool === 'select' && this.mayChange(code) && this.mayChange(area.kind)) this.book.put({ ...area, kind: code });
    this.redraw();
  }

  area() {
    return this.book?.areas.find((area) => area.id === this.chosen) ?? null;
  }

  choose(id) {
    this.chosen = id;
    this.changed();
  }

  mayChange(code = this.kind) {
    const why = this.book?.refused[this.book.sortOf(code)];
    if (why) toast(why, true);
    return Boolean(this.book) && !why;
  }

  changed() {
    if (!this.book) return;
    if (this.chosen && !this.area()) this.chosen = null;
    $('draw-undo').disabled = !this.book.past.length && !this.hand.corners.length;
    $('draw-redo').disabled = !this.book.future.length;
    $('draw-delete').disabled = !this.chosen;
    const words = { saved: this.book.areas.length || this.book.past.length || this.book.future.length ? '✓ Saved' : '', saving: 'Saving …', lost: 'Not saved', refused: 'Not saved' };
    $('draw-lost').hidden = !this.book.tries;
    $('draw-again').hidden = !this.book.stopped;
    if (this.book.tries && $('draw-trouble').textContent !== this.book.trouble) $('draw-trouble').textContent = this.book.trouble;
    const place = $('draw-saved');
    place.className = `saved ${{ lost: 'is-lost', refused: 'is-lost', saving: 'is-waiting', saved: 'is-saved' }[this.book.state]}`;
    if (place.textContent !== words[this.book.state]) place.textContent = words[this.book.state];
    const slide = this.slides[this.number];
    for (const sort of ['masks', 'regions']) slide[sort] = this.book.kept[sort].areas.length > 0;
    const option = $('draw-slide').options[this.number];
    if (option.textContent !== this.titleOf(slide)) option.textContent = this.titleOf(slide);
    this.listAreas();
    this.redraw();
  }

  listAreas() {
    const { areas } = this.book;
    if (this.listedAreas === areas && this.listedChosen === this.chosen) return;
    [this.listedAreas, this.listedChosen] = [areas, this.chosen];
    $('draw-count').textContent = plural(areas.length, 'area');
    const counts = new Map();
    $('draw-areas').replaceChildren(
      ...areas.map((area) => {
        const kind = this.kinds.get(area.kind);
        counts.set(area.kind, (counts.get(area.kind) ?? 0) + 1);
        return make('li', {}, make('button', { colour: kind.color, 'aria-pressed': String(area.id === this.chosen), 'data-area': area.id, onclick: () => this.find(area) }, make('span', { class: 'dot', 'aria-hidden': 'true' }), make('span', { class: 'draw-name' }, `${kind.name} ${counts.get(area.kind)}`), make('span', { class: 'muted' }, this.sizeOf(area))));
      }),
    );
  }

  sizeOf(area) {
    let pixels = 0;
    for (const [outline, ...holes] of area.polygons) pixels += surface(outline) - holes.reduce((sum, hole) => sum + surface(hole), 0);
    const mm = (pixels * this.about.mpp ** 2) / 1e6;
    return mm >= 0.01 ? `${mm.toFixed(2)} mm²` : `${number(Math.round(mm * 1e6))} µm²`;
  }

  /** Choose an area of the list, and see it. */
  find(area) {
    this.use('select');
    this.choose(area.id);
    const corners = area.polygons.flatMap(([outline]) => outline);
    const [xs, ys] = [corners.map(([x]) => x), corners.map(([, y]) => y)];
    const [left, top, right, bottom] = [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
    const margin = Math.max(right - left, bottom - top) / 2;
    if (!this.view.sees([left, top, right, bottom])) this.view.show([left - margin, top - margin, right + margin, bottom + margin]);
  }

  remove() {
    const area = this.area();
    if (!area || !this.mayChange(area.kind)) return;
    this.book.commit(this.book.areas.filter((other) => other !== area));
    toast('Deleted. Ctrl+Z brings it back.');
  }

  undo() {
    if (this.hand.corners.length) {
      this.hand.corners.pop();
      this.hint();
      this.changed();
    } else this.book?.undo();
  }

  redo() {
    this.book?.redo();
  }

  async refused(error) {
    if (error.status === 409) {
      if (await confirmed('The slides have changed', `What you drew is not saved: ${error.message}. This browser keeps it, and sends it when the page is loaded anew.`, 'Load the page anew')) location.reload();
    } else toast(`Not saved: ${error.message}`, true);
  }

  // --- drawing -------------------------------------------------------------------------------------

  resize() {
    const { clientWidth, clientHeight } = this.stage;
    if (!clientWidth) return;
    this.painter.resize(clientWidth, clientHeight);
    this.redraw();
  }

  redraw() {
    if (this.asked || !this.isOpen) return;
    this.asked = true;
    requestAnimationFrame(() => {
      this.asked = false;
      this.draw();
      this.settle();
    });
  }

  draw() {
    if (this.isOpen && this.view?.isOpen && this.book && this.painter.width) this.painter.draw(this);
  }

  zoom(factor) {
    this.view?.zoom(factor);
  }

  // --- keys ----------------------------------------------------------------------------------------

  key(event, key) {
    const command = event.ctrlKey || event.metaKey;
    if (command && (key === 'z' || key === 'y')) {
      if (key === 'y' || event.shiftKey) this.redo();
      else this.undo();
      return true;
    }
    if (command || !this.book) return false;
    if (this.opening && ['space', 'enter', 'backspace', 'delete'].includes(key)) return true;
    const kind = [...this.kinds.values()].find((one, at) => this.keyOf(one, at) === key);
    const pan = { arrowleft: [-1, 0], arrowright: [1, 0], arrowup: [0, -1], arrowdown: [0, 1] }[key];
    if (kind) this.setKind(kind.code);
    else if (key in TOOLS) {
      if (key !== 'n' || this.about.segmented) this.use(TOOLS[key]);
    } else if (pan) this.view.pan(pan.map((step) => step * (event.shiftKey ? 200 : 40)));
    else if (key === '+' || key === '=') this.zoom(1.3);
    else if (key === '-') this.zoom(1 / 1.3);
    else if (key === '[' || key === ']') this.widen(key === ']' ? 1.25 : 0.8);
    else if (key === 'escape') this.hand.corners.length ? this.hand.dropOutline() : this.choose(null);
    else if (key === 'enter' && !isPressing(event)) this.hand.closeOutline();
    else if (key === 'space' && !isPressing(event)) this.hand.press([this.painter.width / 2, this.painter.height / 2]); // in the middle
    else if ((key === 'backspace' || key === 'delete') && this.hand.corners.length) this.undo();
    else if (key === 'backspace' || key === 'delete') this.remove();
    else return false;
    this.redraw();
    return true;
  }

  widen(factor) {
    const width = $('draw-width');
    width.value = Math.max(Number(width.value) * factor, Number(width.value) + Math.sign(factor - 1));
    remember('draw-width', Number(width.value));
  }
}

export const draw = new Draw();
