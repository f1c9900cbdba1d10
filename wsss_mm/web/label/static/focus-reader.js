// What the reader says of the patch that is on the screen: classes, artefacts, skips, and what is taken back.

import { plural, toast } from './dom.js';
import { model } from './model.js';

/** Classes that are asked of a patch. */
const asked = (item) => (item.settle ? item.codes : model.classes.map((one) => one.code));

export class Reader {
  constructor(focus) {
    this.focus = focus;
  }

  press(code, time = performance.now()) {
    if (this.focus.answer.isOff(code) || !this.focus.sees(time)) return;
    this.focus.acts += 1;
    this.focus.answer.press(code);
    this.focus.paintAnswer();
  }

  /** Press what is suggested. */
  takeSuggestion(time = performance.now()) {
    if (!this.focus.sees(time)) return;
    this.focus.acts += 1;
    const suggested = this.focus.suggestion;
    if (!suggested) return this.focus.say(model.suggest ? 'There is no suggestion for this one.' : 'Suggestions are off.');
    this.focus.answer.take(suggested);
    this.focus.paintAnswer();
    if (!this.focus.answer.draft.size) this.focus.say('Suggested: nothing of these. Enter saves that.');
  }

  save(keyTime = performance.now()) {
    const item = this.focus.item;
    if (!this.focus.sees(keyTime)) return;
    if (!this.focus.answer.touched && (item.answered || item.skipped || (item.known && model.mine.has(item.row)))) {
      this.focus.keyTime = keyTime;
      this.focus.acts += 1;
      return this.focus.forward();
    }
    if (!this.focus.answer.draft.size && !this.focus.answer.took && !item.settle) {
      return this.focus.say('Press a class, or N for nothing of these.');
    }
    this.give(this.focus.answer.states(asked(item)), null, keyTime);
  }

  none(keyTime = performance.now()) {
    const item = this.focus.item;
    if (!this.focus.sees(keyTime)) return;
    this.focus.answer.clear();
    this.give(this.focus.answer.states(asked(item)), null, keyTime);
  }

  /** Of the patch over which it was asked, if that is still the one. */
  artefact(kind, keyTime, item = this.focus.item) {
    if (item === this.focus.item && this.focus.sees(keyTime)) this.give({}, kind, keyTime);
    else toast('Another patch is shown by now: nothing was said of it.', true);
  }

  give(classes, artefact, keyTime) {
    const item = this.focus.item;
    this.focus.acts += 1;
    const seconds = Math.round((performance.now() - this.focus.opened) / 100) / 10;
    const suggested = this.focus.suggestion;
    const before = { answered: item.answered, skipped: item.skipped, spent: item.spent };
    const refused = (error) => this.refused(item, before, error);
    item.refused = '';
    const taken = this.focus.answer.isConfirmed && !artefact;
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
    this.focus.keyTime = keyTime;
    this.focus.forward();
  }

  /** The server will not have what was said of a patch: it is as before, and says so when it is looked at. */
  refused(item, before, { message }) {
    Object.assign(item, before, { refused: message });
    if (this.focus.item === item && !this.focus.answer.touched) this.focus.paintAnswer();
  }

  skip(keyTime = performance.now()) {
    const item = this.focus.item;
    if (!(item && this.focus.isBroken) && !this.focus.sees(keyTime)) return;
    this.focus.acts += 1;
    if (!item.settle && !item.answered) {
      model.skip(item.row, item.spent ? { drawn: item.drawn } : item).catch(() => {});
      item.skipped = true;
    }
    this.focus.keyTime = keyTime;
    this.focus.forward();
  }

  /** First what was pressed and is not saved; then what was. */
  async undo() {
    if (this.focus.answer.touched && this.focus.item) {
      this.focus.acts += 1;
      return this.focus.show();
    }
    await this.step('undo');
  }

  async step(kind) {
    if (model.outbox.stopped) toast('Not saved: this is done when you have tried again.', true);
    else if (model.outbox.offline) toast(model.outbox.full ? 'The server cannot save just now: this is done as soon as it can.' : 'No connection: this is done as soon as it is back.');
    const { acts } = this.focus;
    const { selection } = model;
    this.focus.stepping += 1;
    this.focus.settle();
    let rows = [];
    try {
      rows = await model.step(kind);
    } catch (error) {
      toast(error.message, true);
      return;
    } finally {
      this.focus.stepping -= 1;
      this.focus.settle();
    }
    if (model.outbox.isOld) return;
    const isStill = this.focus.acts === acts && model.selection === selection; // or the reader works on something else
    if (!rows.length) toast(kind === 'undo' ? 'Nothing to undo.' : 'Nothing to redo.');
    else toast(`${kind === 'undo' ? 'Taken back' : 'Done again'}: ${plural(rows.length, 'patch', 'patches')}`);
    if (rows.length === 1 && isStill) this.focus.goTo(rows[0], kind);
    else if (rows.length) {
      if (this.focus.item && rows.includes(this.focus.item.row) && !this.focus.answer.touched) this.focus.show();
      if (isStill && rows.length > 1) model.select(rows);
    }
  }
}
