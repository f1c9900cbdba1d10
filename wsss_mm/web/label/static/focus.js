// One patch, large: its classes, its surroundings, its place on the slide.

import { $, afterPaint, make, plural, setBusy, toast } from './dom.js';
import { model, SIGNS, SKIPPED } from './model.js';
import { get, versioned } from './net.js';
import { picture, url, whyNot } from './pictures.js';

const AHEAD = 8; // patches whose pictures are loaded before they are asked for
const ENOUGH = 40; // patches in hand, below which more are asked for
export const ARTEFACTS = [
  ['pen', 'P', 'Pen or ink'],
  ['fold', 'F', 'Fold'],
  ['blur', 'B', 'Blur'],
  ['air', 'A', 'Air bubble'],
  ['other', 'O', 'Other'],
];

const facts = new Map(); // row and ticket -> promise of what the server knows of it
const overviews = new Map(); // slide -> promise of { width, height, ... }

function factsOf({ row, ticket }) {
  const address = ticket ? `/api/patch/${row}?ticket=${encodeURIComponent(ticket)}` : `/api/patch/${row}`;
  if (!facts.has(address)) {
    const asked = get(address);
    asked.catch(() => facts.delete(address));
    facts.set(address, asked);
    if (facts.size > 300) facts.delete(facts.keys().next().value);
  }
  return facts.get(address);
}

function overviewOf(slide) {
  if (!overviews.has(slide)) {
    const asked = get(`/api/overview/${slide}`);
    asked.catch(() => overviews.delete(slide));
    overviews.set(slide, asked);
  }
  return overviews.get(slide);
}

/** The patch on the screen. What a key or a button says is of the patch that was painted when it was pressed: what comes
 * before the next one is painted is not heard, and nothing but an act of the reader's shows another one. */
class Focus {
  start() {
    this.trail = []; // all that was shown, in order
    this.at = -1;
    this.put = null; // the item whose picture is in the page
    this.seen = null; // the item whose picture is on the screen, and since when
    this.seenAt = Infinity;
    this.acts = 0; // of the reader
    this.moves = 0; // from one patch to another
    this.stepping = 0; // undo and redo on their way
    this.draft = new Map();
    this.touched = false;
    this.view = { zoom: 1, x: 0, y: 0, turns: 0 };
    this.buildClasses();
    this.buildStage();
    model.addEventListener('shown', () => this.begin());
    model.addEventListener('queue', () => this.prefetch());
    model.addEventListener('suggest', () => this.paintAnswer());
    model.outbox.addEventListener('change', () => this.stepping && this.settle());
  }

  get item() {
    return this.trail[this.at] ?? null;
  }

  // --- which patch ---------------------------------------------------------------------------------

  /** Begin the order anew, as after a change of filters. */
  begin() {
    this.acts += 1;
    this.at = this.trail.length;
    return this.forward();
  }

  /** The next one: of the trail after going back, else of the order. */
  async forward() {
    if (this.at < this.trail.length - 1) {
      this.at += 1;
      return this.show();
    }
    let item = model.next();
    if (!item && !model.queueEnd) {
      const move = this.wait();
      try {
        while (!item && !model.queueEnd) {
          await model.more();
          if (move !== this.moves) return; // the reader went elsewhere meanwhile
          item = model.next();
        }
      } catch (error) {
        if (move !== this.moves) return;
        this.finish(error.status ? 'This does not work now' : 'No connection', error.message);
        const after = this.moves;
        setTimeout(() => this.moves === after && this.forward(), 2000);
        return;
      }
    }
    if (!item) {
      this.finish();
      return;
    }
    this.trail.push(item);
    this.at = this.trail.length - 1;
    this.show();
  }

  back() {
    if (this.at <= 0) {
      this.say('This is the first one.');
      return;
    }
    this.acts += 1;
    this.at -= 1;
    this.show();
  }

  /** Away from what is shown, to what is not known yet; gives the number of this move. */
  wait() {
    this.at = this.trail.length;
    this.leave();
    $('picture').replaceChildren();
    $('stage-note').hidden = false;
    $('stage-note').textContent = 'Loading …';
    this.shownRow = model.current = null;
    this.draft = new Map();
    this.touched = this.took = false;
    this.facts = null;
    this.paintAnswer();
    return this.moves;
  }

  // --- what is on the screen -----------------------------------------------------------------------

  /** What is on the screen is no longer what keys are about. */
  leave() {
    this.moves += 1;
    this.put = null;
    this.unmark();
    this.hide();
  }

  unmark() {
    delete $('stage').dataset.row;
    delete $('stage').dataset.patch;
  }

  hide() {
    this.seen = null;
    this.seenAt = Infinity;
    setBusy($('stage'), true);
  }

  /** Say that the patch can be answered, as soon as it is on the screen. */
  settle() {
    if (this.stepping && !model.outbox.offline) return this.hide();
    const { item, moves } = this;
    const isThere = () => this.moves === moves && !(this.stepping && !model.outbox.offline) && (item ? this.put === item && this.isLearnt(item) : !$('finished').hidden);
    if (!isThere() || (item && this.seen === item)) return;
    afterPaint(() => {
      if (!isThere() || (item && this.seen === item)) return;
      this.seen = item;
      this.seenAt = performance.now();
      if (this.began) performance.measure('wsss:key-to-patch', { start: this.began, end: this.seenAt }); // for who measures
      this.began = null;
      setBusy($('stage'), false);
    });
  }

  /** Whether suggestions, where they are shown, are known. */
  isLearnt(item) {
    return !(model.suggest && model.state.suggestions) || item.settle || this.facts !== null || this.isUnknown;
  }

  /** The view was opened, and is on the screen with the next frame. */
  appear() {
    this.hide();
    if (this.item) this.place();
    this.settle();
  }

  /** Whether the patch was on the screen when a key was pressed: nothing is said of one that nobody has seen. */
  sees(time) {
    if (this.item && this.seen === this.item && time >= this.seenAt) return true;
    if ($('finished').hidden) this.say(this.item && this.isBroken ? 'The picture is not there. S goes on without an answer.' : 'One moment: that key was pressed before the patch was there.');
    return false;
  }

  /** Open a row, as from the sheet or the map. */
  open(row) {
    this.acts += 1;
    const found = this.trail.findLastIndex((item) => item.row === row && item.opened);
    if (found >= 0 && found === this.at) return this.show();
    this.trail.splice(this.at + 1, 0, { row, drawn: 'search', known: true, opened: true });
    this.at += 1;
    return this.show();
  }

  finish(title = 'Nothing left here', why = '') {
    this.at = this.trail.length;
    this.leave();
    $('view-focus').classList.add('is-finished');
    $('finished').hidden = false;
    $('finished').querySelector('h2').textContent = title;
    $('finished').querySelector('p').textContent =
      why ||
      model.note ||
      (model.order === 'settlement'
        ? 'No disagreement waits to be settled.'
        : model.set || model.filtersInUse
          ? 'All that is shown has an answer. Clear the filters to go on.'
          : 'Every patch of this order has an answer. Choose another order, or look at Progress.');
    this.shownRow = null;
    model.current = null;
    this.settle();
  }

  // --- showing it ----------------------------------------------------------------------------------

  show() {
    const item = this.item;
    this.leave();
    this.began = this.keyTime;
    this.keyTime = null;
    this.isBroken = this.isUnknown = false;
    $('view-focus').classList.remove('is-finished');
    $('finished').hidden = true;
    const mine = item.known || item.answered ? model.mine.get(item.row) : null;
    this.draft = new Map(Object.entries(mine?.classes ?? {}).filter(([, state]) => state !== 'absent'));
    this.touched = false;
    this.took = false;
    this.asSuggested = null;
    this.facts = null;
    this.opened = performance.now();
    this.shownRow = item.row;
    model.current = item.row;
    this.view = { zoom: 1, x: 0, y: 0, turns: 0 };
    const row = item.row;
    this.load(item);
    this.showOverview(row);
    this.describe(null);
    this.paintAnswer();
    this.learn(item);
    $('stage').setAttribute('aria-label', `Patch ${row + 1} of ${model.count}, slide ${model.slideOf(row).id}`);
    this.prefetch();
    model.tell('focus', { row });
  }

  /** What the server knows of it. */
  learn(item) {
    const { row } = item;
    factsOf(item).then(
      (known) => {
        if (this.item !== item) return;
        this.facts = known;
        this.describe(known);
        this.paintAnswer(false);
        this.showOverview(row);
        this.scaleBar();
        this.settle();
      },
      () => {
        if (this.item !== item) return;
        this.isUnknown = true; // and goes on without
        this.settle();
        this.again(row, () => this.item === item && this.learn(item));
      },
    );
  }

  /** Try once more in a while, if the patch is still in sight. */
  again(row, act) {
    setTimeout(() => this.shownRow === row && act(), 2000);
  }

  /** Patch and surroundings, at once where they are loaded already. */
  load(item) {
    const { row } = item;
    const main = picture(url(row, 'patch'));
    const put = () => {
      if (this.item !== item) return;
      $('picture').replaceChildren(main.image);
      $('stage').dataset.row = row;
      $('stage').dataset.patch = `${model.slideOf(row).id}-${model.x[row]}-${model.y[row]}`;
      $('stage-note').hidden = true;
      this.isBroken = false;
      this.put = item;
      this.place();
      this.settle();
    };
    if (main.done) put();
    else {
      $('stage-note').hidden = false;
      $('stage-note').textContent = 'Loading …';
      $('picture').replaceChildren();
      main.ready.then(put, () => this.broken(item));
    }
    this.loadAround(row);
  }

  loadAround(row) {
    const around = picture(url(row, 'context'));
    const outline = make('div', { class: 'context-mark' });
    $('context').replaceChildren(outline);
    const put = () => this.shownRow === row && $('context').replaceChildren(around.image, outline);
    if (around.done) put();
    else around.ready.then(put, () => this.again(row, () => this.loadAround(row)));
  }

  /** No picture: the slide is gone, and the reader goes on with others; or it is the connection, and is tried again. */
  async broken(item) {
    const { row } = item;
    const why = await whyNot(url(row, 'patch'));
    if (this.item !== item || this.put === item) return;
    this.isBroken = true;
    if (why?.gone) return this.lose(item, why.error);
    $('stage-note').hidden = false;
    $('stage-note').textContent = why?.error ? `No picture: ${why.error}` : 'The picture cannot be read just now: trying again …';
    this.again(row, () => this.item === item && this.load(item));
  }

  /** Pass over a patch whose slide cannot be read: nothing is said of it, and it comes again when the slide is back. */
  lose(item, why) {
    const { id } = model.slideOf(item.row);
    if (model.lose(model.slide[item.row])) {
      $('gone').hidden = false;
      $('gone').textContent = `Slide ${id} is left out: ${why}. Its patches come again when the order or a filter is chosen anew.`;
    }
    if (item.known) {
      $('stage-note').hidden = false;
      $('stage-note').textContent = `No picture: slide ${id} cannot be read.`;
      setBusy($('stage'), false);
      return;
    }
    this.trail.splice(this.trail.indexOf(item), 1);
    this.at -= 1;
    this.forward();
  }

  prefetch() {
    const ahead = this.trail.slice(this.at + 1, this.at + 1 + AHEAD);
    ahead.push(...model.queue.slice(0, AHEAD - ahead.length));
    const patches = ahead.map((item) => picture(url(item.row, 'patch')));
    const count = () => {
      const missing = patches.findIndex((patch) => !patch.done);
      if (this.ahead === ahead) $('stage').dataset.ahead = missing < 0 ? patches.length : missing; // go on without the server
    };
    this.ahead = ahead;
    count();
    for (const patch of patches) patch.ready.then(count, () => {});
    for (const item of ahead) {
      picture(url(item.row, 'context'));
      factsOf(item).catch(() => {});
      overviewOf(model.slide[item.row]).catch(() => {});
    }
    if (model.queue.length < ENOUGH) model.more().catch(() => {});
  }

  async showOverview(row) {
    const slide = model.slide[row];
    const holder = $('overview');
    let about;
    try {
      about = await overviewOf(slide);
    } catch {
      return this.again(row, () => this.showOverview(row));
    }
    if (this.shownRow !== row) return;
    if (holder.dataset.slide !== String(slide)) {
      const whole = picture(versioned(`/overview/${slide}.jpg`));
      holder.dataset.slide = slide;
      holder.replaceChildren(make('div', { class: 'overview-mark' }));
      const put = () => holder.dataset.slide === String(slide) && holder.prepend(whole.image);
      if (whole.done) put();
      else
        whole.ready.then(put, () => {
          if (holder.dataset.slide === String(slide)) delete holder.dataset.slide;
          this.again(row, () => this.showOverview(row));
        });
      holder.style.setProperty('--ratio', `${about.width} / ${about.height}`);
      holder.style.setProperty('--ratio-number', about.width / about.height);
    }
    const known = this.facts;
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

  describe(known) {
    const row = this.shownRow;
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

  // --- the picture ---------------------------------------------------------------------------------

  buildStage() {
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
    const known = this.facts;
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

  // --- the answer ----------------------------------------------------------------------------------

  buildClasses() {
    this.buttons = new Map();
    $('classes').replaceChildren(
      ...model.classes.map((item) => {
        const parts = {
          sign: make('span', { class: 'sign', 'aria-hidden': 'true' }),
          word: make('span', { class: 'word' }),
        };
        const button = make(
          'button',
          { class: 'class', colour: item.css, 'data-code': item.code },
          make('kbd', {}, item.key),
          make('span', { class: 'swatch', 'aria-hidden': 'true' }, parts.sign),
          make('span', { class: 'name' }, item.name, make('span', { class: 'code' }, item.code)),
          parts.word,
        );
        this.buttons.set(item.code, { button, ...parts });
        return button;
      }),
    );
  }

  /** What was shown as a suggestion, by class. */
  get suggestion() {
    const item = this.item;
    return model.suggest && item && !item.settle && !item.answered && this.facts?.suggestion ? this.facts.suggestion : null;
  }

  /** Draw the buttons; with `anew`, what was said about the last key goes. */
  paintAnswer(anew = true) {
    const item = this.item;
    const suggested = this.suggestion;
    for (const [code, { button, sign, word }] of this.buttons) {
      const state = this.draft.get(code) ?? 'off';
      const asked = !item?.settle || item.codes.includes(code);
      const share = suggested?.[code];
      const looks = state === 'off' && share >= 0.5;
      button.dataset.state = state;
      button.classList.toggle('is-suggested', looks);
      button.disabled = !asked;
      button.setAttribute('aria-pressed', state === 'off' ? 'false' : state === 'present' ? 'true' : 'mixed');
      sign.textContent = state === 'off' ? '' : SIGNS[state];
      word.textContent = state === 'off' ? (share === undefined ? '' : `${Math.round(share * 100)} %`) : state;
      word.title = state === 'off' && share !== undefined ? 'Suggested: it counts only when you press it' : '';
    }
    $('take').hidden = !suggested;
    if (anew) $('hint').textContent = item ? this.hintOf(item) : '';
    if (!item) return;
    $('question').textContent = item.settle ? 'Readers disagree. What is here?' : 'Which tissues are here?';
  }

  hintOf(item) {
    const mine = item.known || item.answered ? model.mine.get(item.row) : null;
    if (item.settle) return 'Only the disputed classes are asked. Who said what stays hidden.';
    if (item.refused) return `Not saved: ${item.refused}.`;
    if (item.skipped) return 'You skipped this one.';
    if (!mine || this.touched) return '';
    if (mine.artefact) return `Your answer: artefact (${mine.artefact}). Press a class to change it.`;
    const said = Object.entries(mine.classes).filter(([, state]) => state !== 'absent');
    return said.length ? 'Your answer. Press a class to change it.' : 'Your answer: nothing of these.';
  }

  say(text) {
    $('hint').textContent = text;
  }

  press(code, time = performance.now()) {
    if (this.buttons.get(code)?.button.disabled || !this.sees(time)) return;
    this.acts += 1;
    const next = { present: 'unsure', unsure: null };
    const state = this.draft.has(code) ? next[this.draft.get(code)] : 'present';
    if (state) this.draft.set(code, state);
    else this.draft.delete(code);
    this.touched = true;
    this.paintAnswer();
  }

  /** Press what is suggested. */
  takeSuggestion(time = performance.now()) {
    if (!this.sees(time)) return;
    this.acts += 1;
    const suggested = this.suggestion;
    if (!suggested) return this.say(model.suggest ? 'There is no suggestion for this one.' : 'Suggestions are off.');
    this.draft = new Map(Object.entries(suggested).filter(([, share]) => share >= 0.5).map(([code]) => [code, 'present']));
    this.asSuggested = [...this.draft.keys()].join();
    this.touched = true;
    this.took = true;
    this.paintAnswer();
    if (!this.draft.size) this.say('Suggested: nothing of these. Enter saves that.');
  }

  save(keyTime = performance.now()) {
    const item = this.item;
    if (!this.sees(keyTime)) return;
    if (!this.touched && (item.answered || item.skipped || (item.known && model.mine.has(item.row)))) {
      this.keyTime = keyTime;
      this.acts += 1;
      return this.forward();
    }
    if (!this.draft.size && !this.took && !item.settle) {
      return this.say('Press a class, or N for nothing of these.');
    }
    const codes = item.settle ? item.codes : model.classes.map((one) => one.code);
    this.give(Object.fromEntries(codes.map((code) => [code, this.draft.get(code) ?? 'absent'])), null, keyTime);
  }

  none(keyTime = performance.now()) {
    const item = this.item;
    if (!this.sees(keyTime)) return;
    const codes = item.settle ? item.codes : model.classes.map((one) => one.code);
    this.draft.clear();
    this.took = false;
    this.give(Object.fromEntries(codes.map((code) => [code, 'absent'])), null, keyTime);
  }

  /** Of the patch over which it was asked, if that is still the one. */
  artefact(kind, keyTime, item = this.item) {
    if (item === this.item && this.sees(keyTime)) this.give({}, kind, keyTime);
    else toast('Another patch is shown by now: nothing was said of it.', true);
  }

  give(classes, artefact, keyTime) {
    const item = this.item;
    this.acts += 1;
    const seconds = Math.round((performance.now() - this.opened) / 100) / 10;
    const suggested = this.suggestion;
    const before = { answered: item.answered, skipped: item.skipped, spent: item.spent };
    const refused = (error) => this.refused(item, before, error);
    item.refused = '';
    const taken = this.took && !artefact && [...this.draft].every(([, state]) => state === 'present') && [...this.draft.keys()].join() === this.asSuggested;
    if (item.settle) {
      model.settle(item.row, classes, seconds).catch(refused);
    } else {
      const ticket = item.ticket; // a correction too: it replaces the reading it corrects, the first or the second
      item.spent = true;
      model
        .answer([item.row], { classes, artefact, seconds, drawn: item.drawn, ticket, suggested, how: taken ? 'confirmed' : 'created' })
        .catch(refused);
    }
    item.answered = true;
    item.skipped = false;
    this.keyTime = keyTime;
    this.forward();
  }

  /** The server will not have what was said of a patch: it is as before, and says so when it is looked at. */
  refused(item, before, { message }) {
    Object.assign(item, before, { refused: message });
    if (this.item === item && !this.touched) this.paintAnswer();
  }

  skip(keyTime = performance.now()) {
    const item = this.item;
    if (!(item && this.isBroken) && !this.sees(keyTime)) return;
    this.acts += 1;
    if (!item.settle && !item.answered) {
      model.skip(item.row, item.spent ? { drawn: item.drawn } : item).catch(() => {});
      item.skipped = true;
    }
    this.keyTime = keyTime;
    this.forward();
  }

  /** First what was pressed and is not saved; then what was. */
  async undo() {
    if (this.touched && this.item) {
      this.acts += 1;
      return this.show();
    }
    await this.step('undo');
  }

  async step(kind) {
    if (model.outbox.offline) toast(model.outbox.full ? 'The server cannot save just now: this is done as soon as it can.' : 'No connection: this is done as soon as it is back.');
    const { acts } = this;
    const { selection } = model;
    this.stepping += 1;
    this.settle();
    let rows = [];
    try {
      rows = await model.step(kind);
    } catch (error) {
      toast(error.message, true);
      return;
    } finally {
      this.stepping -= 1;
      this.settle();
    }
    if (model.outbox.isOld) return;
    const isStill = this.acts === acts && model.selection === selection; // or the reader works on something else
    if (!rows.length) toast(kind === 'undo' ? 'Nothing to undo.' : 'Nothing to redo.');
    else toast(`${kind === 'undo' ? 'Taken back' : 'Done again'}: ${plural(rows.length, 'patch', 'patches')}`);
    if (rows.length === 1 && isStill) this.goTo(rows[0], kind);
    else if (rows.length) {
      if (this.item && rows.includes(this.item.row) && !this.touched) this.show();
      if (isStill && rows.length > 1) model.select(rows);
    }
  }

  goTo(row, kind) {
    let found = this.trail.findLastIndex((item) => item.row === row);
    if (found < 0) {
      found = Math.min(this.at, this.trail.length);
      this.trail.splice(found, 0, { row, drawn: 'search', known: true });
    }
    const item = this.trail[found];
    item.spent = kind === 'redo';
    item.answered = item.ticket ? item.spent && model.rowState[row] !== SKIPPED : model.mine.has(row);
    item.skipped = model.rowState[row] === SKIPPED;
    this.at = found;
    this.show();
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

export const focus = new Focus();
