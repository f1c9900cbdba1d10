// What is pressed of the classes, and not said yet: the buttons of one patch.

import { $, make } from './dom.js';
import { model, SIGNS } from './model.js';

export class Answer {
  constructor() {
    this.clear();
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
          make('span', { class: 'answer', 'aria-hidden': 'true' }, parts.sign),
          make('span', { class: 'name' }, item.name, make('span', { class: 'code' }, item.code)),
          parts.word,
        );
        this.buttons.set(item.code, { button, ...parts });
        return button;
      }),
    );
  }

  /** Nothing is pressed. */
  clear() {
    this.draft = new Map();
    this.touched = this.took = false;
    this.asSuggested = null;
  }

  /** Begin with what was said of a patch, if anything was. */
  begin(mine) {
    this.clear();
    this.draft = new Map(Object.entries(mine?.classes ?? {}).filter(([, state]) => state !== 'absent'));
  }

  isOff(code) {
    return Boolean(this.buttons.get(code)?.button.disabled);
  }

  /** A class is here; pressed again: unsure; again: off. */
  press(code) {
    const next = { present: 'unsure', unsure: null };
    const state = this.draft.has(code) ? next[this.draft.get(code)] : 'present';
    if (state) this.draft.set(code, state);
    else this.draft.delete(code);
    this.touched = true;
  }

  /** Press what is suggested. */
  take(suggested) {
    this.draft = new Map(Object.entries(suggested).filter(([, share]) => share >= 0.5).map(([code]) => [code, 'present']));
    this.asSuggested = [...this.draft.keys()].join();
    this.touched = this.took = true;
  }

  /** Whether it is what was suggested, taken as it was. */
  get isConfirmed() {
    return this.took && [...this.draft].every(([, state]) => state === 'present') && [...this.draft.keys()].join() === this.asSuggested;
  }

  /** A state of each of these classes: what is not pressed is absent. */
  states(codes) {
    return Object.fromEntries(codes.map((code) => [code, this.draft.get(code) ?? 'absent']));
  }

  /** Draw the buttons; with `anew`, what was said about the last key goes. */
  paint(item, suggested, anew = true) {
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
}
