// What stands beside the patch: its surroundings, its place on the slide, and what is known of it.

import { $, make, toast } from './dom.js';
import { model } from './model.js';
import { get, versioned } from './net.js';
import { picture, url } from './pictures.js';

const facts = new Map(); // row and ticket -> promise of what the server knows of it
const overviews = new Map(); // slide -> promise of { width, height, ... }

/** What the server knows of a patch. */
export function factsOf({ row, ticket }) {
  const address = ticket ? `/api/patch/${row}?ticket=${encodeURIComponent(ticket)}` : `/api/patch/${row}`;
  if (!facts.has(address)) {
    const asked = get(address);
    asked.catch(() => facts.delete(address));
    facts.set(address, asked);
    if (facts.size > 300) facts.delete(facts.keys().next().value);
  }
  return facts.get(address);
}

/** How large the overview of a slide is. */
export function overviewOf(slide) {
  if (!overviews.has(slide)) {
    const asked = get(`/api/overview/${slide}`);
    asked.catch(() => overviews.delete(slide));
    overviews.set(slide, asked);
  }
  return overviews.get(slide);
}

export class Beside {
  constructor() {
    this.row = null;
    this.known = null;
  }

  /** Another patch. */
  begin(row) {
    this.row = row;
    this.known = null;
    this.loadAround();
    this.showOverview();
    this.describe();
  }

  /** None. */
  end() {
    this.row = this.known = null;
  }

  learn(known) {
    this.known = known;
    this.describe();
    this.showOverview();
  }

  /** Try once more in a while, if the patch is still in sight. */
  again(act) {
    const { row } = this;
    setTimeout(() => this.row === row && act(), 2000);
  }

  loadAround() {
    const { row } = this;
    const around = picture(url(row, 'context'));
    const outline = make('div', { class: 'context-mark' });
    $('context').replaceChildren(outline);
    const put = () => this.row === row && $('context').replaceChildren(around.image, outline);
    if (around.done) put();
    else around.ready.then(put, () => this.again(() => this.loadAround()));
  }

  /** The whole slide, with a mark where the patch lies. */
  async showOverview() {
    const { row } = this;
    const slide = model.slide[row];
    const holder = $('overview');
    let about;
    try {
      about = await overviewOf(slide);
    } catch {
      return this.again(() => this.showOverview());
    }
    if (this.row !== row) return;
    if (holder.dataset.slide !== String(slide)) {
      const whole = picture(versioned(`/overview/${slide}.jpg`));
      holder.dataset.slide = slide;
      holder.replaceChildren(make('div', { class: 'overview-mark' }));
      const put = () => holder.dataset.slide === String(slide) && holder.prepend(whole.image);
      if (whole.done) put();
      else
        whole.ready.then(put, () => {
          if (holder.dataset.slide === String(slide)) delete holder.dataset.slide;
          this.again(() => this.showOverview());
        });
      holder.style.setProperty('--ratio', `${about.width} / ${about.height}`);
      holder.style.setProperty('--ratio-number', about.width / about.height);
    }
    const { known } = this;
    const across = about.level0_width;
    const down = about.level0_height ?? (across * about.height) / about.width;
    const span = known?.span ?? (known && about.mpp ? (known.size * known.mpp) / about.mpp : across / 40);
    const spot = holder.querySelector('.overview-mark');
    const whole = (share) => `clamp(9px, ${100 * share}%, calc(100% - 9px))`; // at the edge, too
    spot.style.left = whole((model.x[row] + span / 2) / across);
    spot.style.top = whole((model.y[row] + span / 2) / down);
    spot.style.width = `${(100 * span) / across}%`;
    spot.style.height = `${(100 * span) / down}%`;
  }

  describe() {
    const { row, known } = this;
    const slide = model.slideOf(row);
    const lines = [['Slide', slide.id]];
    if (slide.site) lines.push(['Site', slide.site]);
    if (known?.mpp) lines.push(['Side', `${Math.round(known.size * known.mpp)} µm`]);
    $('facts').replaceChildren(...lines.map(([name, value]) => make('div', {}, make('dt', {}, name), make('dd', {}, value))));
    $('patch-id').textContent = known?.patch_id ?? `${slide.id}-${model.x[row]}-${model.y[row]}`;
    const link = $('viewer-link');
    const safe = known?.viewer && /^(https?:\/\/|\/(?!\/))/.test(known.viewer);
    link.hidden = !safe;
    if (safe) link.href = known.viewer;
  }

  copy() {
    const text = $('patch-id').textContent;
    const done = () => toast(`Copied: ${text}`);
    if (navigator.clipboard) navigator.clipboard.writeText(text).then(done, () => this.choose());
    else this.choose();
  }

  choose() {
    getSelection().selectAllChildren($('patch-id'));
    toast('Chosen: press Ctrl+C to copy.');
  }
}
