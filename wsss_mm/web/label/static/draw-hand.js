// Mouse, pen and fingers on the slide: outlines, strokes, corners that are dragged, regions that are taken over.

import { CORNERS, NEAR } from './draw-paint.js';
import { surface, tidied } from './draw-rings.js';
import { $, setBusy, toast } from './dom.js';
import { get, newId, Refused, send } from './net.js';

export class Hand {
  constructor(draw, canvas) {
    this.draw = draw;
    this.canvas = canvas;
    this.corners = []; // of the outline that is being drawn
    this.way = null; // of the brush
    this.pointers = new Map();
    this.cursor = null;
    this.strokes = Promise.resolve(); // one after another: each goes onto what the one before has left
    this.pending = []; // ways that the server is making areas of
    this.mouse();
  }

  /** Radius of the brush, px of the slide: its width is in um, so that it stays what it is when one zooms. */
  radius() {
    return Number($('draw-width').value) / 2 / (this.draw.about?.mpp ?? 1);
  }

  /** What a click there would do, without a hand. */
  press(spot) {
    this.cursor = null;
    this.down(spot);
    this.up(spot);
  }

  at(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  mouse() {
    const { canvas, pointers } = this;
    canvas.addEventListener('pointerdown', (event) => {
      if (!this.draw.book || this.draw.opening || this.draw.tool === 'move') return;
      event.preventDefault();
      canvas.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, this.at(event));
      this.draw.stage.focus({ preventScroll: true });
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
      this.draw.redraw();
    });
    const end = (event) => {
      if (!pointers.delete(event.pointerId)) return;
      if (event.pointerType === 'touch') this.cursor = null;
      if (this.pinch) {
        if (!pointers.size) this.pinch = null;
        else this.pinch = this.spread();
      } else if (event.type === 'pointercancel') this.cancelStroke();
      else this.up(this.at(event));
      this.draw.redraw();
    };
    canvas.addEventListener('pointerup', end);
    canvas.addEventListener('pointercancel', end);
    canvas.addEventListener('pointerleave', () => {
      this.cursor = null;
      this.draw.redraw();
    });
    canvas.addEventListener('dblclick', () => this.draw.tool === 'polygon' && this.closeOutline());
    canvas.addEventListener(
      'wheel',
      (event) => {
        if (!this.draw.view || this.draw.tool === 'move') return;
        event.preventDefault();
        this.draw.view.zoom(Math.exp(-event.deltaY / 400), this.at(event));
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
    this.draw.view.pinch(this.pinch, now);
    this.pinch = now;
  }

  down(spot) {
    const place = this.draw.view.toSlide(spot);
    if (this.draw.tool === 'polygon') {
      if (!this.draw.mayChange()) return;
      const [first] = this.corners;
      if (first && this.corners.length > 2 && this.draw.view.apart(first, spot) < NEAR) {
        this.closeOutline();
        return;
      }
      this.corners.push(place);
      this.tracing = { spot, moved: false };
      this.draw.hint();
      this.draw.changed();
    } else if (this.draw.tool === 'brush' || this.draw.tool === 'eraser') {
      if (this.draw.tool === 'brush' && !this.draw.mayChange()) return;
      this.way = { points: [place], radius: this.radius(), cut: this.draw.tool === 'eraser', last: spot };
    } else if (this.draw.tool === 'select') {
      this.grip = this.cornerAt(spot);
      if (!this.grip) this.draw.choose(this.draw.painter.areaAt(spot, this.draw)?.id ?? null);
    } else if (this.draw.tool === 'snap') this.snap(place);
  }

  move(spot) {
    const far = (last, least) => Math.hypot(spot[0] - last[0], spot[1] - last[1]) >= least;
    if (this.tracing && far(this.tracing.spot, 5)) {
      this.tracing = { spot, moved: true };
      this.corners.push(this.draw.view.toSlide(spot));
      this.draw.changed();
    }
    if (this.way && far(this.way.last, 2)) {
      this.way.points.push(this.draw.view.toSlide(spot));
      this.way.last = spot;
    }
    if (this.grip) {
      const { polygon, ring, corner } = this.grip;
      const area = this.draw.area();
      const place = this.draw.view.toSlide(spot);
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
      const area = this.draw.area();
      if (this.dragged && area && this.draw.mayChange(area.kind)) this.draw.book.put({ ...area, polygons: tidied(this.dragged.polygons) });
      this.grip = this.dragged = null;
    }
  }

  cancelStroke() {
    if (this.tracing) this.corners.pop();
    this.tracing = this.way = this.grip = this.dragged = null;
    this.draw.hint();
  }

  cornerAt(spot) {
    const area = this.draw.area();
    if (!area || area.polygons.flat().reduce((sum, ring) => sum + ring.length, 0) > CORNERS) return null;
    let best = null;
    let least = NEAR;
    area.polygons.forEach((rings, polygon) =>
      rings.forEach((points, ring) =>
        points.slice(0, -1).forEach((point, corner) => {
          const far = this.draw.view.apart(point, spot);
          if (far < least) [best, least] = [{ polygon, ring, corner }, far];
        }),
      ),
    );
    return best;
  }

  dropOutline() {
    this.corners = [];
    this.tracing = null;
    this.draw.hint();
  }

  closeOutline() {
    if (this.corners.length < 3 || !this.draw.mayChange()) return;
    const polygons = tidied([[[...this.corners, this.corners[0]]]]);
    this.dropOutline();
    if (surface(polygons[0][0]) < 1) return this.draw.changed();
    const area = { id: newId(), kind: this.draw.kind, polygons };
    this.draw.chosen = area.id;
    this.draw.book.put(area);
  }

  endStroke() {
    const { way } = this;
    const { book, kind } = this.draw;
    this.way = null;
    this.pending.push(way);
    setBusy(this.draw.stage, true);
    this.strokes = this.strokes
      .then(() => this.applyStroke(way, book, kind))
      .finally(() => {
        this.pending.splice(this.pending.indexOf(way), 1);
        this.draw.redraw();
      });
  }

  async applyStroke({ points, radius, cut }, book, kind) {
    if (book !== this.draw.book) return;
    const chosen = this.draw.area();
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
    if (book !== this.draw.book) return;
    const apart = said.apart ?? said.areas[''];
    if (apart?.length) {
      const area = { id: newId(), kind, polygons: apart };
      this.draw.chosen = area.id;
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
    const { book } = this.draw;
    try {
      const said = await get(`/api/draw/${book.number}/region?x=${x}&y=${y}`);
      if (book !== this.draw.book) return;
      if (!said.polygons.length) return toast('The segmentation has no region there.');
      const kind = this.draw.kinds.has(said.kind) ? said.kind : this.draw.kind;
      if (!this.draw.mayChange(kind)) return;
      const again = book.areas.find((other) => JSON.stringify(other.polygons) === JSON.stringify(said.polygons));
      if (again) return this.draw.choose(again.id);
      const area = { id: newId(), kind, polygons: said.polygons };
      this.draw.chosen = area.id;
      this.draw.setKind(kind);
      book.put(area);
    } catch (error) {
      toast(error.message, true);
    }
  }
}
