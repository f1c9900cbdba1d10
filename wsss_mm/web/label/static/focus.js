// One patch, large: its classes, its surroundings, its place on the slide.

import { $, afterPaint, setBusy } from './dom.js';
import { Answer } from './focus-answer.js';
import { Beside, factsOf, overviewOf } from './focus-beside.js';
import { Reader } from './focus-reader.js';
import { Stage } from './focus-stage.js';
import { model, SKIPPED } from './model.js';
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
    this.answer = new Answer();
    this.beside = new Beside();
    this.reader = new Reader(this);
    this.stage = new Stage();
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
    this.leaveRow();
    this.answer.clear();
    this.paintAnswer();
    return this.moves;
  }

  // --- what is on the screen -----------------------------------------------------------------------

  /** No patch is shown. */
  leaveRow() {
    model.current = this.facts = this.stage.known = null;
    this.beside.end();
  }

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
    if (this.item) this.stage.place();
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
    this.leaveRow();
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
    this.answer.begin(mine);
    this.facts = null;
    this.opened = performance.now();
    const { row } = item;
    model.current = row;
    this.stage.begin();
    this.load(item);
    this.beside.begin(row);
    this.paintAnswer();
    this.learn(item);
    $('stage').setAttribute('aria-label', `Patch ${row + 1} of ${model.count}, slide ${model.slideOf(row).id}`);
    this.prefetch();
    model.tell('focus', { row });
  }

  /** What the server knows of it. */
  learn(item) {
    factsOf(item).then(
      (known) => {
        if (this.item !== item) return;
        this.facts = known;
        this.beside.learn(known);
        this.paintAnswer(false);
        this.stage.learn(known);
        this.settle();
      },
      () => {
        if (this.item !== item) return;
        this.isUnknown = true; // and goes on without
        this.settle();
        this.beside.again(() => this.item === item && this.learn(item));
      },
    );
  }

  /** Its picture, at once where it is loaded already. */
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
      this.stage.place();
      this.settle();
    };
    if (main.done) put();
    else {
      $('stage-note').hidden = false;
      $('stage-note').textContent = 'Loading …';
      $('picture').replaceChildren();
      main.ready.then(put, () => this.broken(item));
    }
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
    this.beside.again(() => this.item === item && this.load(item));
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

  // --- the answer ----------------------------------------------------------------------------------

  /** What was shown as a suggestion, by class. */
  get suggestion() {
    const item = this.item;
    return model.suggest && item && !item.settle && !item.answered && this.facts?.suggestion ? this.facts.suggestion : null;
  }

  paintAnswer(anew = true) {
    this.answer.paint(this.item, this.suggestion, anew);
  }

  say(text) {
    this.answer.say(text);
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

}

export const focus = new Focus();
