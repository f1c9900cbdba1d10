// The large picture: zoomed, moved, turned, brighter or darker, with a scale bar.

import { $ } from './dom.js';

export class Stage {
  constructor() {
    this.begin();
    const stage = $('stage');
    stage.addEventListener(
      'wheel',
      (event) => {
        event.preventDefault();
        const box = stage.getBoundingClientRect();
        this.zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2, event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2);
      },
      { passive: false },
    );
    let from = null;
    stage.addEventListener('pointerdown', (event) => {
      if (this.view.zoom === 1) return;
      from = { x: event.clientX - this.view.x, y: event.clientY - this.view.y };
      stage.setPointerCapture(event.pointerId);
    });
    stage.addEventListener('pointermove', (event) => {
      if (!from) return;
      this.view.x = event.clientX - from.x;
      this.view.y = event.clientY - from.y;
      this.place();
    });
    for (const name of ['pointerup', 'pointercancel']) stage.addEventListener(name, () => (from = null));
    stage.addEventListener('dblclick', () => {
      this.view = { ...this.view, zoom: 1, x: 0, y: 0 };
      this.place();
    });
    for (const name of ['brightness', 'contrast']) $(name).addEventListener('input', () => this.light());
    new ResizeObserver(() => this.scaleBar()).observe(stage);
  }

  /** Another patch, as it is; it is painted when its picture comes. */
  begin() {
    this.view = { zoom: 1, x: 0, y: 0, turns: 0 };
    this.known = null;
  }

  /** What the server knows of it: its size and resolution. */
  learn(known) {
    this.known = known;
    this.scaleBar();
  }

  zoom(factor, x = 0, y = 0) {
    const old = this.view.zoom;
    const zoom = Math.min(12, Math.max(1, old * factor));
    const scale = zoom / old;
    this.view = { ...this.view, zoom, x: zoom === 1 ? 0 : x - (x - this.view.x) * scale, y: zoom === 1 ? 0 : y - (y - this.view.y) * scale };
    this.place();
  }

  rotate(quarters) {
    this.view.turns += quarters;
    this.place();
  }

  place() {
    const { zoom, x, y, turns } = this.view;
    const box = $('stage');
    const far = [(box.clientWidth * (zoom - 1)) / 2, (box.clientHeight * (zoom - 1)) / 2];
    this.view.x = Math.min(far[0], Math.max(-far[0], x));
    this.view.y = Math.min(far[1], Math.max(-far[1], y));
    $('picture').style.transform = `translate(${this.view.x}px, ${this.view.y}px) scale(${zoom}) rotate(${turns * 90}deg)`;
    $('context').style.transform = `rotate(${turns * 90}deg)`;
    box.classList.toggle('is-zoomed', zoom > 1);
    this.scaleBar();
  }

  scaleBar() {
    const { known } = this;
    const bar = $('stage-scale');
    bar.hidden = !known?.mpp;
    if (!known?.mpp) return;
    const across = (known.size * known.mpp) / this.view.zoom;
    const length = [5, 10, 20, 50, 100, 200, 500].findLast((value) => value < across * 0.35) ?? 5;
    const { clientWidth, clientHeight } = $('stage');
    const side = Math.min(clientWidth, clientHeight);
    bar.style.width = `${(side * length) / across}px`;
    bar.style.left = `${(clientWidth - side) / 2 + 12}px`;
    bar.style.bottom = `${(clientHeight - side) / 2 + 10}px`;
    bar.textContent = `${length} µm`;
  }

  light(reset = false) {
    if (reset) for (const name of ['brightness', 'contrast']) $(name).value = 100;
    const text = `brightness(${$('brightness').value}%) contrast(${$('contrast').value}%)`;
    const plain = $('brightness').value === '100' && $('contrast').value === '100';
    for (const id of ['picture', 'context']) $(id).style.filter = plain ? '' : text;
    $('light-button').classList.toggle('is-on', !plain);
  }

  toggleLight() {
    $('light').hidden = !$('light').hidden;
    $('light-button').setAttribute('aria-expanded', String(!$('light').hidden));
    if (!$('light').hidden) $('brightness').focus();
  }
}
