// Paints what is drawn over the slide, and tells what lies under a spot of it.

import { $ } from './dom.js';

export const NEAR = 12; // px on the screen
export const CORNERS = 400; // as many can be dragged one by one

export class Painter {
  constructor(canvas) {
    this.canvas = canvas;
    this.paint = canvas.getContext('2d');
  }

  resize(width, height) {
    const ratio = devicePixelRatio || 1;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    [this.width, this.height] = [width, height];
  }

  /** All of it, anew: areas, the patch that Focus shows, and what the hand is about. */
  draw({ view, hand, book, kinds, kind: current, chosen, tool, marked, number, about, stage }) {
    const { paint } = this;
    const ratio = this.canvas.width / this.width;
    const { left, top, scale } = view.where();
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
    for (const area of book.areas) {
      const kind = kinds.get(area.kind);
      const isChosen = area.id === chosen;
      const polygons = isChosen && hand.dragged ? hand.dragged.polygons : area.polygons;
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
      if (isChosen && tool === 'select') this.drawCorners(polygons, { left, top, scale });
    }
    if (marked?.slide === number) {
      const { x, y, span } = marked;
      paint.beginPath();
      paint.rect(x * scale + left, y * scale + top, span * scale, span * scale);
      paint.setLineDash([3, 4]);
      twice('#fff', 1.5);
      paint.setLineDash([]);
    }
    const colour = kinds.get(current)?.color ?? '#fff';
    if (hand.corners.length) {
      paint.beginPath();
      line([...hand.corners, ...(hand.cursor && !hand.tracing ? [view.toSlide(hand.cursor)] : [])]);
      twice(colour);
      for (const [at, corner] of hand.corners.entries()) {
        if (at && hand.corners.length > 60) break;
        this.dot(corner, { left, top, scale }, at ? 3 : 6);
      }
    }
    for (const way of [...hand.pending, ...(hand.way ? [hand.way] : [])]) {
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
    const isBrush = tool === 'brush' || tool === 'eraser';
    const byKeys = stage.matches(':focus-visible') && tool !== 'move';
    const spot = hand.cursor ?? (byKeys ? [this.width / 2, this.height / 2] : null);
    if (isBrush && spot) {
      paint.beginPath();
      paint.arc(...spot, hand.radius() * scale, 0, 2 * Math.PI);
      twice('#fff', 1.5);
    }
    if (byKeys && !hand.cursor) {
      const [x, y] = [this.width / 2, this.height / 2];
      paint.beginPath();
      paint.moveTo(x - 12, y);
      paint.lineTo(x + 12, y);
      paint.moveTo(x, y - 12);
      paint.lineTo(x, y + 12);
      twice('#fff', 1.5);
    }
    this.drawScale(about.mpp / scale);
  }

  /** The scale bar, of so many um per px of the screen. */
  drawScale(perPixel) {
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

  /** The topmost area at a place; of regions of interest, which are large, only the edge counts. */
  areaAt(spot, { view, book, kinds }) {
    const { left, top, scale } = view.where();
    const found = [...book.areas].reverse().filter((area) => {
      const path = new Path2D();
      for (const ring of area.polygons.flat()) {
        ring.forEach(([cx, cy], at) => (at ? path.lineTo(cx * scale + left, cy * scale + top) : path.moveTo(cx * scale + left, cy * scale + top)));
        path.closePath();
      }
      this.paint.setTransform(1, 0, 0, 1, 0, 0);
      this.paint.lineWidth = 2 * NEAR;
      if (kinds.get(area.kind).sort === 'regions') return this.paint.isPointInStroke(path, ...spot);
      return this.paint.isPointInPath(path, ...spot, 'evenodd');
    });
    return found[0] ?? null;
  }
}
