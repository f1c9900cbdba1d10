// Draw on a slide: areas with a class, and regions of interest.

import { Book } from './draw-book.js';
import { $, afterPaint, confirmed, make, number, options, plural, setBusy, toast } from './dom.js';
import { isPressing } from './keys.js';
import { model, remember, remembered } from './model.js';
import { get, newId, Refused, send } from './net.js';

const TOOLS = { v: 'move', s: 'select', a: 'polygon', b: 'brush', e: 'eraser', n: 'snap' };
const NEAR = 12; // px on the screen
const CORNERS = 400; // as many can be dragged one by one
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
    this.paint = this.canvas.getContext('2d');
    this.tool = 'move';
    this.chosen = null;
    this.corners = []; // of the outline that is being drawn
    this.way = null; // of the brush
    this.pointers = new Map();
    this.cursor = null;
    this.opening = 0; // slides, or the list of them
    this.strokes = Promise.resolve(); // one after another: each goes onto what the one before has left
    this.pending = []; // ways that the server is making areas of
    for (const button of document.querySelectorAll('button[data-tool]')) button.addEventListener('click', () => this.use(button.dataset.tool));
    $('draw-slide').addEventListener('change', (event) => this.openSlide(Number(event.target.value)));
    $('draw-width').addEventListener('input', () => this.redraw());
    $('draw-undo').addEventListener('click', () => this.undo());
    $('draw-redo').addEventListener('click', () => this.redo());
    $('draw-close').addEventListener('click', () => this.closeOutline());
    $('draw-delete').addEventListener('click', () => this.remove());
    $('draw-in').addEventListener('click', () => this.zoom(1.5));
    $('draw-out').addEventListener('click', () => this.zoom(1 / 1.5));
    $('draw-whole').addEventListener('click', () => this.viewer?.viewport.goHome());
    $('draw-patch').addEventListener('click', () => this.goToPatch());
    new ResizeObserver(() => this.resize()).observe(this.stage);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.redraw());
    this.stage.addEventListener('focus', () => this.redraw());
    this.stage.addEventListener('blur', () => this.redraw());
    addEventListener('beforeunload', (event) => {
      if (this.book?.unsaved && this.book.state !== 'refused') event.preventDefault();
    });
    this.mouse();
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
    return this.opening > 0 || this.moving || this.asked || this.pending.length > 0;
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
      if (!said.script) throw new Refused('OpenSeadragon, which shows slides, is missing on the server: fetch it once with `wsss-mm view --setup`');
      if (!said.slides.length) throw new Refused('the cohort has no slides whose files are known');
      await this.loadScript();
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

  loadScript() {
    // OpenSeadragon writes a rule of style into the page unless one is there, which this page's policy does not let it
    const mark = document.createElementNS('urn:wsss-mm', 'style');
    mark.setAttribute('data-openseadragon-mobile-css', '');
    document.head.append(mark);
    return new Promise((resolve, reject) => {
      document.head.append(make('script', { src: '/openseadragon.js', onload: resolve, onerror: () => reject(new Error('OpenSeadragon does not load')) }));
    });
  }

  openSlide(at) {
    return this.while(() => this.change(at));
  }

  async change(at) {
    if (this.book?.unsaved && this.book.state !== 'refused') {
      toast('What you drew is not saved yet: wait a moment, then open the other slide.', true);
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
    this.cancelStroke();
    this.book?.close();
    this.dropOutline();
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
    await this.show(said);
    $('draw-width').value = remembered('draw-width', 100);
    this.note('');
    this.changed();
  }

  show(said) {
    if (!this.viewer) {
      const isStill = matchMedia('(prefers-reduced-motion: reduce)').matches;
      this.viewer = globalThis.OpenSeadragon({
        element: $('draw-slide-picture'),
        showNavigationControl: false,
        drawer: 'canvas',
        maxZoomPixelRatio: 8,
        minZoomImageRatio: 0.7,
        animationTime: isStill ? 0 : 0.3,
        keyboardNavEnabled: false,
        tabIndex: '',
        gestureSettingsMouse: { clickToZoom: false },
        gestureSettingsTouch: { clickToZoom: false },
        gestureSettingsPen: { clickToZoom: false },
      });
      this.viewer.addHandler('update-viewport', () => this.draw());
      this.viewer.addHandler('animation', () => this.redraw());
      this.viewer.addHandler('animation-start', () => {
        this.moving = true;
        setBusy(this.stage, true);
      });
      this.viewer.addHandler('animation-finish', () => {
        this.moving = false;
        this.redraw();
      });
    }
    return new Promise((resolve) => {
      this.viewer.addOnceHandler('open', () => resolve());
      this.viewer.addOnceHandler('open-failed', () => resolve());
      this.viewer.open({
        width: said.width,
        height: said.height,
        tileSize: said.tile,
        tileOverlap: said.overlap,
        minLevel: 0,
        maxLevel: said.levels - 1,
        getTileUrl: (level, x, y) => `/draw/${this.number}/${level}/${x}_${y}.jpeg?s=${encodeURIComponent(said.id)}`,
      });
    });
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
    const unit = 1 / this.about.width;
    this.viewer.viewport.fitBounds(new globalThis.OpenSeadragon.Rect((x - 1.5 * span) * unit, (y - 1.5 * span) * unit, 4 * span * unit, 4 * span * unit), true);
    this.redraw();
  }

  // --- what is chosen ------------------------------------------------------------------------------

  use(tool) {
    if (tool !== 'polygon' && this.corners.length && this.tool === 'polygon') this.dropOutline();
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
    $('draw-close').hidden = this.tool !== 'polygon' || this.corners.length < 3;
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
    $('draw-undo').disabled = !this.book.past.length && !this.corners.length;
    $('draw-redo').disabled = !this.book.future.length;
    $('draw-delete').disabled = !this.chosen;
    const words = { saved: this.book.areas.length || this.book.past.length || this.book.future.length ? '✓ Saved' : '', saving: 'Saving …', lost: 'Not saved', refused: 'Not saved' };
    $('draw-lost').hidden = this.book.state !== 'lost';
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
    const [left, top, right, bottom] = [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)].map((value) => value / this.about.width);
    const now = this.viewer.viewport.getBounds();
    const isSeen = left >= now.x && top >= now.y && right <= now.x + now.width && bottom <= now.y + now.height;
    const margin = Math.max(right - left, bottom - top) / 2;
    if (!isSeen) this.viewer.viewport.fitBounds(new globalThis.OpenSeadragon.Rect(left - margin, top - margin, right - left + 2 * margin, bottom - top + 2 * margin));
  }

  remove() {
    const area = this.area();
    if (!area || !this.mayChange(area.kind)) return;
    this.book.commit(this.book.areas.filter((other) => other !== area));
    toast('Deleted. Ctrl+Z brings it back.');
  }

  undo() {
    if (this.corners.length) {
      this.corners.pop();
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

  /** Pixels of the slide to those of the canvas: `x * scale + left`. */
  where() {
    const { viewport } = this.viewer;
    const { Point } = globalThis.OpenSeadragon;
    const [from, to] = [viewport.pixelFromPoint(new Point(0, 0), true), viewport.pixelFromPoint(new Point(1, 0), true)];
    return { left: from.x, top: from.y, scale: (to.x - from.x) / this.about.width };
  }

  toSlide([px, py]) {
    const { left, top, scale } = this.where();
    return [(px - left) / scale, (py - top) / scale];
  }

  resize() {
    const { clientWidth, clientHeight } = this.stage;
    if (!clientWidth) return;
    const ratio = devicePixelRatio || 1;
    this.canvas.width = Math.round(clientWidth * ratio);
    this.canvas.height = Math.round(clientHeight * ratio);
    [this.width, this.height] = [clientWidth, clientHeight];
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
    if (!this.isOpen || !this.viewer?.isOpen() || !this.book || !this.width) return;
    const { paint } = this;
    const ratio = this.canvas.width / this.width;
    const { left, top, scale } = this.where();
    paint.setTransform(1, 0, 0, 1, 0, 0);
    paint.clearRect(0, 0, this.canvas.width, this.canvas.height);
    paint.setTransform(ratio, 0, 0, ratio, 0, 0);
    const line = (points) => points.forEach(([x, y], at) => (at ? paint.lineTo(x * scale + left, y * scale + top) : paint.moveTo(x * scale + left, y * scale + top)));
    const twice = (colour, width = 2) => {
      paint.strokeStyle = 'rgb(0 0 0 / 75%)';
      paint.lineWidth = width + 2;
      paint.stroke();
      paint.strokeStyle = colour;
      paint.lineWidth = width;
      paint.stroke();
    };
    for (const area of this.book.areas) {
      const kind = this.kinds.get(area.kind);
      const isChosen = area.id === this.chosen;
      const polygons = isChosen && this.dragged ? this.dragged.polygons : area.polygons;
      paint.beginPath();
      for (const ring of polygons.flat()) {
        line(ring);
        paint.closePath();
      }
      if (kind.sort === 'masks') {
        paint.globalAlpha = isChosen ? 0.45 : 0.3;
        paint.fillStyle = kind.color;
        paint.fill('evenodd');
        paint.globalAlpha = 1;
      } else paint.setLineDash([12, 5]);
      twice(kind.color, isChosen ? 3.5 : 2);
      paint.setLineDash([]);
      if (isChosen && this.tool === 'select') this.drawCorners(polygons, { left, top, scale });
    }
    if (this.marked?.slide === this.number) {
      const { x, y, span } = this.marked;
      paint.beginPath();
      paint.rect(x * scale + left, y * scale + top, span * scale, span * scale);
      paint.setLineDash([3, 4]);
      twice('#fff', 1.5);
      paint.setLineDash([]);
    }
    const colour = this.kinds.get(this.kind)?.color ?? '#fff';
    if (this.corners.length) {
      paint.beginPath();
      line([...this.corners, ...(this.cursor && !this.tracing ? [this.toSlide(this.cursor)] : [])]);
      twice(colour);
      for (const [at, corner] of this.corners.entries()) {
        if (at && this.corners.length > 60) break;
        this.dot(corner, { left, top, scale }, at ? 3 : 6);
      }
    }
    const radius = this.radius();
    for (const way of [...this.pending, ...(this.way ? [this.way] : [])]) {
      paint.beginPath();
      line(way.points.length > 1 ? way.points : [...way.points, ...way.points]);
      [paint.lineCap, paint.lineJoin] = ['round', 'round'];
      paint.globalAlpha = 0.5;
      paint.strokeStyle = way.cut ? '#fff' : colour;
      paint.lineWidth = 2 * way.radius * scale;
      paint.stroke();
      paint.globalAlpha = 1;
      [paint.lineCap, paint.lineJoin] = ['butt', 'miter'];
    }
    const isBrush = this.tool === 'brush' || this.tool === 'eraser';
    const byKeys = this.stage.matches(':focus-visible') && this.tool !== 'move';
    const spot = this.cursor ?? (byKeys ? [this.width / 2, this.height / 2] : null);
    if (isBrush && spot) {
      paint.beginPath();
      paint.arc(...spot, radius * scale, 0, 2 * Math.PI);
      twice('#fff', 1.5);
    }
    if (byKeys && !this.cursor) {
      const [x, y] = [this.width / 2, this.height / 2];
      paint.beginPath();
      paint.moveTo(x - 12, y);
      paint.lineTo(x + 12, y);
      paint.moveTo(x, y - 12);
      paint.lineTo(x, y + 12);
      twice('#fff', 1.5);
    }
    this.drawScale(scale);
  }

  drawScale(scale) {
    const perPixel = this.about.mpp / scale;
    const most = 140 * perPixel;
    const power = 10 ** Math.floor(Math.log10(most));
    const length = power * [5, 2, 1].find((step) => step * power <= most);
    $('draw-scale').style.width = `${length / perPixel}px`;
    const text = length >= 1000 ? `${length / 1000} mm` : `${Number(length.toPrecision(2))} µm`;
    if ($('draw-scale').textContent !== text) $('draw-scale').textContent = text;
  }

  dot([x, y], { left, top, scale }, size) {
    const { paint } = this;
    paint.beginPath();
    paint.rect(x * scale + left - size, y * scale + top - size, 2 * size, 2 * size);
    paint.fillStyle = '#fff';
    paint.fill();
    paint.strokeStyle = '#000';
    paint.lineWidth = 1.5;
    paint.stroke();
  }

  drawCorners(polygons, at) {
    const rings = polygons.flat();
    if (rings.reduce((sum, ring) => sum + ring.length, 0) > CORNERS) return;
    for (const ring of rings) for (const corner of ring.slice(0, -1)) this.dot(corner, at, 4);
  }

  /** Radius of the brush, px of the slide: its width is in um, so that it stays what it is when one zooms. */
  radius() {
    return Number($('draw-width').value) / 2 / (this.about?.mpp ?? 1);
  }

  // --- mouse, pen, fingers -------------------------------------------------------------------------

  at(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  mouse() {
    const { canvas, pointers } = this;
    canvas.addEventListener('pointerdown', (event) => {
      if (!this.book || this.opening || this.tool === 'move') return;
      event.preventDefault();
      canvas.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, this.at(event));
      this.stage.focus({ preventScroll: true });
      if (pointers.size === 2 || event.button === 1) {
        this.cancelStroke();
        this.pinch = this.spread();
      } else if (pointers.size === 1 && event.button === 0) this.down(this.at(event));
    });
    canvas.addEventListener('pointermove', (event) => {
      const spot = this.at(event);
      if (pointers.has(event.pointerId)) pointers.set(event.pointerId, spot);
      if (this.pinch) this.doPinch();
      else {
        this.cursor = event.pointerType === 'touch' && !pointers.size ? null : spot;
        if (pointers.has(event.pointerId)) for (const one of event.getCoalescedEvents?.() ?? [event]) this.move(this.at(one));
      }
      this.redraw();
    });
    const end = (event) => {
      if (!pointers.delete(event.pointerId)) return;
      if (event.pointerType === 'touch') this.cursor = null;
      if (this.pinch) {
        if (!pointers.size) this.pinch = null;
        else this.pinch = this.spread();
      } else if (event.type === 'pointercancel') this.cancelStroke();
      else this.up(this.at(event));
      this.redraw();
    };
    canvas.addEventListener('pointerup', end);
    canvas.addEventListener('pointercancel', end);
    canvas.addEventListener('pointerleave', () => {
      this.cursor = null;
      this.redraw();
    });
    canvas.addEventListener('dblclick', () => this.tool === 'polygon' && this.closeOutline());
    canvas.addEventListener(
      'wheel',
      (event) => {
        if (!this.viewer || this.tool === 'move') return;
        event.preventDefault();
        this.zoom(Math.exp(-event.deltaY / 400), this.at(event));
      },
      { passive: false },
    );
  }

  spread() {
    const spots = [...this.pointers.values()];
    const middle = [0, 1].map((axis) => spots.reduce((sum, spot) => sum + spot[axis], 0) / spots.length);
    return { middle, apart: spots.length > 1 ? Math.hypot(spots[0][0] - spots[1][0], spots[0][1] - spots[1][1]) : 0 };
  }

  doPinch() {
    const now = this.spread();
    const { Point } = globalThis.OpenSeadragon;
    const { viewport } = this.viewer;
    const [dx, dy] = [0, 1].map((axis) => this.pinch.middle[axis] - now.middle[axis]);
    viewport.panBy(viewport.deltaPointsFromPixels(new Point(dx, dy)), true);
    if (now.apart && this.pinch.apart) viewport.zoomBy(now.apart / this.pinch.apart, viewport.pointFromPixel(new Point(...now.middle), true), true);
    this.pinch = now;
  }

  zoom(factor, spot) {
    if (!this.viewer) return;
    const { viewport } = this.viewer;
    viewport.zoomBy(factor, spot && viewport.pointFromPixel(new globalThis.OpenSeadragon.Point(...spot), true), true);
    viewport.applyConstraints(true);
  }

  down(spot) {
    const place = this.toSlide(spot);
    if (this.tool === 'polygon') {
      if (!this.mayChange()) return;
      const [first] = this.corners;
      if (first && this.corners.length > 2 && this.apart(first, spot) < NEAR) {
        this.closeOutline();
        return;
      }
      this.corners.push(place);
      this.tracing = { spot, moved: false };
      this.hint();
      this.changed();
    } else if (this.tool === 'brush' || this.tool === 'eraser') {
      if (this.tool === 'brush' && !this.mayChange()) return;
      this.way = { points: [place], radius: this.radius(), cut: this.tool === 'eraser', last: spot };
    } else if (this.tool === 'select') {
      this.grip = this.cornerAt(spot);
      if (!this.grip) this.choose(this.areaAt(spot)?.id ?? null);
    } else if (this.tool === 'snap') this.snap(place);
  }

  move(spot) {
    const far = (last, least) => Math.hypot(spot[0] - last[0], spot[1] - last[1]) >= least;
    if (this.tracing && far(this.tracing.spot, 5)) {
      this.tracing = { spot, moved: true };
      this.corners.push(this.toSlide(spot));
      this.changed();
    }
    if (this.way && far(this.way.last, 2)) {
      this.way.points.push(this.toSlide(spot));
      this.way.last = spot;
    }
    if (this.grip) {
      const { polygon, ring, corner } = this.grip;
      const area = this.area();
      const place = this.toSlide(spot);
      this.dragged = {
        polygons: area.polygons.map((rings, a) => (a !== polygon ? rings : rings.map((points, b) => (b !== ring ? points : points.map((point, c) => (c === corner || (corner === 0 && c === points.length - 1) ? place : point)))))),
      };
    }
  }

  up() {
    if (this.tracing) {
      const { moved } = this.tracing;
      this.tracing = null;
      if (moved && this.corners.length > 5) this.closeOutline();
    }
    if (this.way) this.endStroke();
    if (this.grip) {
      const area = this.area();
      if (this.dragged && area && this.mayChange(area.kind)) this.book.put({ ...area, polygons: tidied(this.dragged.polygons) });
      this.grip = this.dragged = null;
    }
  }

  cancelStroke() {
    if (this.tracing) this.corners.pop();
    this.tracing = this.way = this.grip = this.dragged = null;
    this.hint();
  }

  apart([x, y], [px, py]) {
    const { left, top, scale } = this.where();
    return Math.hypot(x * scale + left - px, y * scale + top - py);
  }

  cornerAt(spot) {
    const area = this.area();
    if (!area || area.polygons.flat().reduce((sum, ring) => sum + ring.length, 0) > CORNERS) return null;
    let best = null;
    let least = NEAR;
    area.polygons.forEach((rings, polygon) =>
      rings.forEach((points, ring) =>
        points.slice(0, -1).forEach((point, corner) => {
          const far = this.apart(point, spot);
          if (far < least) [best, least] = [{ polygon, ring, corner }, far];
        }),
      ),
    );
    return best;
  }

  /** The topmost area at a place; of regions of interest, which are large, only the edge counts. */
  areaAt(spot) {
    const [x, y] = this.toSlide(spot);
    const { left, top, scale } = this.where();
    const found = [...this.book.areas].reverse().filter((area) => {
      const path = new Path2D();
      for (const ring of area.polygons.flat()) {
        ring.forEach(([cx, cy], at) => (at ? path.lineTo(cx * scale + left, cy * scale + top) : path.moveTo(cx * scale + left, cy * scale + top)));
        path.closePath();
      }
      this.paint.setTransform(1, 0, 0, 1, 0, 0);
      this.paint.lineWidth = 2 * NEAR;
      if (this.kinds.get(area.kind).sort === 'regions') return this.paint.isPointInStroke(path, x * scale + left, y * scale + top);
      return this.paint.isPointInPath(path, x * scale + left, y * scale + top, 'evenodd');
    });
    return found[0] ?? null;
  }

  dropOutline() {
    this.corners = [];
    this.tracing = null;
    this.hint();
  }

  closeOutline() {
    if (this.corners.length < 3 || !this.mayChange()) return;
    const polygons = tidied([[[...this.corners, this.corners[0]]]]);
    this.dropOutline();
    if (surface(polygons[0][0]) < 1) return this.changed();
    const area = { id: newId(), kind: this.kind, polygons };
    this.chosen = area.id;
    this.book.put(area);
  }

  endStroke() {
    const { way, book, kind } = this;
    this.way = null;
    this.pending.push(way);
    setBusy(this.stage, true);
    this.strokes = this.strokes
      .then(() => this.applyStroke(way, book, kind))
      .finally(() => {
        this.pending.splice(this.pending.indexOf(way), 1);
        this.redraw();
      });
  }

  async applyStroke({ points, radius, cut }, book, kind) {
    if (book !== this.book) return;
    const chosen = this.area();
    const may = (area) => !book.refused[book.sortOf(area.kind)];
    const targets = cut ? (chosen ? [chosen] : book.of('masks')).filter(may) : chosen?.kind === kind ? [chosen] : [];
    if (cut && !targets.length) return;
    let said;
    try {
      said = await send(`/api/draw/${book.number}/stroke`, { id: newId(), slide: book.slide, how: cut ? 'cut' : 'add', points: tidied([[points]])[0][0], radius, onto: Object.fromEntries(targets.map((area) => [area.id, area.polygons])) });
    } catch (error) {
      toast(error instanceof Refused ? error.message : 'No connection to the server: the stroke is not drawn. Outlines can be drawn meanwhile.', true);
      return;
    }
    if (book !== this.book) return;
    const apart = said.apart ?? said.areas[''];
    if (apart?.length) {
      const area = { id: newId(), kind, polygons: apart };
      this.chosen = area.id;
      book.put(area);
      return;
    }
    const next = book.areas.flatMap((area) => {
      const polygons = said.areas[area.id];
      return polygons === undefined ? [area] : polygons.length ? [{ ...area, polygons }] : [];
    });
    if (Object.keys(said.areas).some((id) => id)) book.commit(next);
  }

  async snap([x, y]) {
    const { book } = this;
    try {
      const said = await get(`/api/draw/${book.number}/region?x=${x}&y=${y}`);
      if (book !== this.book) return;
      if (!said.polygons.length) return toast('The segmentation has no region there.');
      const kind = this.kinds.has(said.kind) ? said.kind : this.kind;
      if (!this.mayChange(kind)) return;
      const again = book.areas.find((other) => JSON.stringify(other.polygons) === JSON.stringify(said.polygons));
      if (again) return this.choose(again.id);
      const area = { id: newId(), kind, polygons: said.polygons };
      this.chosen = area.id;
      this.setKind(kind);
      book.put(area);
    } catch (error) {
      toast(error.message, true);
    }
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
    } else if (pan) this.pan(pan, event.shiftKey ? 200 : 40);
    else if (key === '+' || key === '=') this.zoom(1.3);
    else if (key === '-') this.zoom(1 / 1.3);
    else if (key === '[' || key === ']') this.widen(key === ']' ? 1.25 : 0.8);
    else if (key === 'escape') this.corners.length ? this.dropOutline() : this.choose(null);
    else if (key === 'enter' && !isPressing(event)) this.closeOutline();
    else if (key === 'space' && !isPressing(event)) this.press();
    else if ((key === 'backspace' || key === 'delete') && this.corners.length) this.undo();
    else if (key === 'backspace' || key === 'delete') this.remove();
    else return false;
    this.redraw();
    return true;
  }

  /** What a click in the middle would do. */
  press() {
    const middle = [this.width / 2, this.height / 2];
    this.cursor = null;
    this.down(middle);
    this.up(middle);
  }

  pan([dx, dy], step) {
    const { viewport } = this.viewer;
    viewport.panBy(viewport.deltaPointsFromPixels(new globalThis.OpenSeadragon.Point(dx * step, dy * step)), true);
    viewport.applyConstraints(true);
  }

  widen(factor) {
    const width = $('draw-width');
    width.value = Math.max(Number(width.value) * factor, Number(width.value) + Math.sign(factor - 1));
    remember('draw-width', Number(width.value));
  }
}

/** Area of a ring, px. */
function surface(ring) {
  let twice = 0;
  for (let at = 0; at < ring.length - 1; at += 1) twice += ring[at][0] * ring[at + 1][1] - ring[at + 1][0] * ring[at][1];
  return Math.abs(twice) / 2;
}

/** Polygons on the grid on which they are kept. */
const tidied = (polygons) => polygons.map((rings) => rings.map((ring) => ring.map((place) => place.map((value) => Math.round(value * 100) / 100))));

export const draw = new Draw();
