// The slide under what is drawn: OpenSeadragon shows it, and says where its pixels are.

import { make } from './dom.js';

/** Load OpenSeadragon, which this server has. */
export function loadScript() {
  // OpenSeadragon writes a rule of style into the page unless one is there, which this page's policy does not let it
  const mark = document.createElementNS('urn:wsss-mm', 'style');
  mark.setAttribute('data-openseadragon-mobile-css', '');
  document.head.append(mark);
  return new Promise((resolve, reject) => {
    document.head.append(make('script', { src: './openseadragon.js', onload: resolve, onerror: () => reject(new Error('OpenSeadragon does not load')) }));
  });
}

export class View {
  /** `says` is called with each frame (`frame`), as the slide moves (`moves`), and before and after (`begins`, `ends`). */
  constructor(holder, says) {
    const isStill = matchMedia('(prefers-reduced-motion: reduce)').matches;
    this.viewer = globalThis.OpenSeadragon({
      element: holder,
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
    for (const [name, act] of Object.entries({ 'update-viewport': says.frame, animation: says.moves, 'animation-start': says.begins, 'animation-finish': says.ends })) {
      this.viewer.addHandler(name, act);
    }
  }

  get isOpen() {
    return this.viewer.isOpen();
  }

  /** Show a slide by its tiles. */
  open({ width, height, tile, overlap, levels }, addressOf) {
    this.width = width;
    return new Promise((resolve) => {
      this.viewer.addOnceHandler('open', () => resolve());
      this.viewer.addOnceHandler('open-failed', () => resolve());
      this.viewer.open({ width, height, tileSize: tile, tileOverlap: overlap, minLevel: 0, maxLevel: levels - 1, getTileUrl: addressOf });
    });
  }

  // --- places --------------------------------------------------------------------------------------

  /** Pixels of the slide to those of the canvas: `x * scale + left`. */
  where() {
    const { viewport } = this.viewer;
    const { Point } = globalThis.OpenSeadragon;
    const [from, to] = [viewport.pixelFromPoint(new Point(0, 0), true), viewport.pixelFromPoint(new Point(1, 0), true)];
    return { left: from.x, top: from.y, scale: (to.x - from.x) / this.width };
  }

  toSlide([px, py]) {
    const { left, top, scale } = this.where();
    return [(px - left) / scale, (py - top) / scale];
  }

  /** How far a place of the slide is from a spot of the canvas, px of the screen. */
  apart([x, y], [px, py]) {
    const { left, top, scale } = this.where();
    return Math.hypot(x * scale + left - px, y * scale + top - py);
  }

  // --- moving --------------------------------------------------------------------------------------

  home() {
    this.viewer.viewport.goHome();
  }

  zoom(factor, spot) {
    const { viewport } = this.viewer;
    viewport.zoomBy(factor, spot && viewport.pointFromPixel(new globalThis.OpenSeadragon.Point(...spot), true), true);
    viewport.applyConstraints(true);
  }

  pan([dx, dy]) {
    const { viewport } = this.viewer;
    viewport.panBy(viewport.deltaPointsFromPixels(new globalThis.OpenSeadragon.Point(dx, dy)), true);
    viewport.applyConstraints(true);
  }

  /** Follow two fingers, or one button: from where their middle was, and how far apart they were, to where they are. */
  pinch(from, to) {
    const { Point } = globalThis.OpenSeadragon;
    const { viewport } = this.viewer;
    const [dx, dy] = [0, 1].map((axis) => from.middle[axis] - to.middle[axis]);
    viewport.panBy(viewport.deltaPointsFromPixels(new Point(dx, dy)), true);
    if (to.apart && from.apart) viewport.zoomBy(to.apart / from.apart, viewport.pointFromPixel(new Point(...to.middle), true), true);
  }

  /** Show a box of the slide, px. */
  show([left, top, right, bottom], atOnce = false) {
    const unit = 1 / this.width;
    this.viewer.viewport.fitBounds(new globalThis.OpenSeadragon.Rect(left * unit, top * unit, (right - left) * unit, (bottom - top) * unit), atOnce);
  }

  /** Whether all of a box of the slide is in sight. */
  sees([left, top, right, bottom]) {
    const { x, y, width, height } = this.viewer.viewport.getBounds();
    return left / this.width >= x && top / this.width >= y && right / this.width <= x + width && bottom / this.width <= y + height;
  }
}
