// Puts the page together: views, keys, what is saved, and what is lost.

import { draw } from './draw.js';
import { atlas } from './map.js';
import { $, make, options, plural, toast } from './dom.js';
import { buildFilters, sayShown } from './filters.js';
import { ARTEFACTS, focus } from './focus.js';
import { HELP, isPressing, isTyping, meaning } from './keys.js';
import { model, ORDERS, remember } from './model.js';
import { get } from './net.js';
import { followSaving, sayState } from './saved.js';
import { sheet } from './sheet.js';
import { showProgress } from './progress.js';

const VIEWS = ['focus', 'sheet', 'map', 'draw', 'progress'];
let view = 'focus';

async function begin() {
  try {
    await model.load();
  } catch (error) {
    $('offline').hidden = false;
    $('offline-text').textContent = `The patches cannot be read: ${error.message}. Trying again …`;
    setTimeout(begin, 2000);
    return;
  }
  $('offline').hidden = true;
  $('reader').textContent = model.reader;
  options($('order'), ORDERS.filter(([name]) => !model.state.orders || model.state.orders.includes(name) || name === 'settlement'), model.order);
  $('order').addEventListener('change', (event) => model.setOrder(event.target.value));
  buildFilters();
  buildHelp();
  buildArtefacts();
  buildTabs();
  buildSuggestions();
  followSaving();
  focus.start();
  sheet.start((row) => {
    show('focus');
    focus.open(row);
  });
  draw.start();
  atlas.start(() => asSet([...model.selection], 'from the map', 'search'));
  document.addEventListener('click', clicked);
  followPresses();
  followTheHand();
  document.addEventListener('keydown', pressed);
  sayShown();
  sayState();
  model.outbox.work();
  const [, wanted] = location.hash.match(/^#(\w+)$/) ?? [];
  show(VIEWS.includes(wanted) ? wanted : 'focus');
  if (model.order === 'settlement') model.order = 'useful';
  $('order').value = model.order;
  await focus.begin();
  document.documentElement.dataset.ready = 'true';
}

// --- views -------------------------------------------------------------------------------------------

function show(name) {
  view = name;
  for (const one of VIEWS) {
    const chosen = one === name;
    $(`view-${one}`).hidden = !chosen;
    $(`tab-${one}`).setAttribute('aria-selected', String(chosen));
    $(`tab-${one}`).tabIndex = chosen ? 0 : -1;
  }
  document.body.dataset.view = name;
  history.replaceState(null, '', `#${name}`);
  if (name === 'map') atlas.open();
  else atlas.close();
  if (name === 'draw') draw.open();
  else draw.close();
  if (name === 'progress') showProgress(settle);
  if (name === 'sheet') {
    sheet.appear();
    $('sheet').focus({ preventScroll: true });
  }
  if (name === 'map') $('map').focus({ preventScroll: true });
  if (name === 'focus') {
    $('main').focus({ preventScroll: true });
    focus.appear();
  }
}

function buildTabs() {
  for (const name of VIEWS) {
    $(`tab-${name}`).addEventListener('click', () => show(name));
    $(`tab-${name}`).addEventListener('keydown', (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      event.stopPropagation();
      const next = VIEWS[(VIEWS.indexOf(name) + step + VIEWS.length) % VIEWS.length];
      show(next);
      $(`tab-${next}`).focus();
    });
  }
}

function settle() {
  $('order').value = 'settlement';
  model.setOrder('settlement');
  show('focus');
}

/** Show these patches alone, in all views. */
function asSet(rows, label, drawn) {
  const chosen = new Set(rows);
  model.setSet({ rows, label: `${plural(rows.length, 'patch', 'patches')} ${label}`, drawn });
  model.select(chosen);
  show('sheet');
}

async function similar() {
  const row = view === 'focus' ? focus.item?.row : ([...model.selection][0] ?? model.shown[sheet.at]);
  if (row === undefined) return;
  const now = () => [view, focus.acts, model.selection, model.set];
  const before = now();
  try {
    const said = await get(`/api/similar/${row}?n=50`);
    if (!said.rows?.length) {
      toast('The patches are still being looked at: try again in a moment.');
      return;
    }
    if (now().some((value, at) => value !== before[at])) {
      toast('Patches that look alike are found, but you went on meanwhile: ask again.');
      return;
    }
    const rows = [row, ...said.rows.filter((other) => other !== row)];
    model.setSet({ rows, label: `${plural(rows.length, 'patch', 'patches')} that look alike`, drawn: 'similar' });
    model.select([row], row);
    show('sheet');
  } catch (error) {
    toast(`Nothing found: ${error.message}`, true);
  }
}

// --- suggestions -------------------------------------------------------------------------------------

function buildSuggestions() {
  const button = $('suggestions');
  const there = model.state.suggestions;
  button.disabled = !there;
  button.title = there ? 'Suggestions on or off (U)' : 'Suggestions come with the first trained model';
  const paint = () => button.setAttribute('aria-checked', String(there && model.suggest));
  button.addEventListener('click', () => {
    model.suggest = !model.suggest;
    remember('suggestions', model.suggest);
    paint();
    model.tell('suggest');
  });
  paint();
}

// --- keys and buttons --------------------------------------------------------------------------------

const DO = {
  save: (time) => focus.reader.save(time),
  none: (time) => (view === 'sheet' ? sheet.none(time) : focus.reader.none(time)),
  done: (time) => sheet.done(time),
  skip: (time) => focus.reader.skip(time),
  back: () => focus.back(),
  take: (time) => focus.reader.takeSuggestion(time),
  undo: () => (view === 'focus' ? focus.reader.undo() : focus.reader.step('undo')),
  redo: () => focus.reader.step('redo'),
  'zoom-in': () => focus.stage.zoom(1.4),
  'zoom-out': () => focus.stage.zoom(1 / 1.4),
  rotate: () => focus.stage.rotate(1),
  light: () => focus.stage.toggleLight(),
  'light-reset': () => focus.stage.light(true),
  similar: () => similar(),
  copy: () => focus.beside.copy(),
  artefact: (time) => askArtefact(time),
};

/** When the hand came down on what is clicked now, or a key on what it presses: what was on the screen then is meant. */
let down = null;
const began = (event) => down ?? event.timeStamp;

function followPresses() {
  const press = (event) => {
    if (!event.repeat) down = event.timeStamp;
  };
  document.addEventListener('pointerdown', press, true);
  document.addEventListener('keydown', press, true);
  document.addEventListener('keyup', () => (down = null), true);
  document.addEventListener('click', () => (down = null)); // the last to hear of it
}

function clicked(event) {
  const button = event.target.closest('button');
  if (!button || button.disabled) return;
  const { do: act, code } = button.dataset;
  if (act) DO[act](began(event));
  else if (code) (view === 'sheet' ? sheet : focus.reader).press(code, began(event));
}

/** What a mouse or a finger has pressed gives the keys back: Enter then saves, and presses no button again. */
function followTheHand() {
  let byHand = false;
  document.addEventListener('pointerdown', () => (byHand = true), true);
  document.addEventListener('keydown', () => (byHand = false), true);
  const release = (event) => {
    const pressed = event.target.closest?.('button, select');
    if (!byHand || !pressed || pressed.closest('dialog') || pressed.matches('[role="tab"]')) return;
    $({ sheet: 'sheet', map: 'map', draw: 'draw-stage' }[view] ?? 'main').focus({ preventScroll: true });
  };
  document.addEventListener('click', (event) => event.target.tagName !== 'SELECT' && release(event));
  document.addEventListener('change', release);
}

const FOCUS_KEYS = {
  enter: 'save', n: 'none', 0: 'none', a: 'artefact', s: 'skip', c: 'take', backspace: 'back',
  '+': 'zoom-in', '=': 'zoom-in', '-': 'zoom-out', r: 'rotate', b: 'light', i: 'copy', l: 'similar',
};
const EVERYWHERE = { f: 'focus', t: 'sheet', m: 'map', h: 'draw', p: 'progress' };

function pressed(event) {
  if (document.querySelector('dialog[open]')) return artefactKey(event);
  if (isTyping(event) || event.altKey || event.isComposing) return;
  const key = meaning(event);
  if (isPressing(event) && (key === 'enter' || key === 'space')) return;
  if (event.target.closest?.('[role="tablist"], [role="radiogroup"]') && key.startsWith('arrow')) return;
  if (act(event, key)) event.preventDefault();
}

/** Do what the key means here; whether it means anything. */
function act(event, key) {
  const command = event.ctrlKey || event.metaKey;
  if (view === 'draw' && draw.key(event, key)) return true;
  if (command && key === 'z') {
    DO[event.shiftKey ? 'redo' : 'undo']();
    return true;
  }
  if (command && key === 'y') {
    DO.redo();
    return true;
  }
  if (view === 'sheet' && sheet.key(event, key)) return true;
  if (command) return false;
  if (view === 'map' && atlas.key(event, key)) return true;
  if (key === '?') {
    $('help').showModal();
    return true;
  }
  if (key === 'u') {
    $('suggestions').click();
    return true;
  }
  const own = model.classes.find((item) => item.key === key);
  if (own && view === 'focus') {
    if (!event.repeat) focus.reader.press(own.code, event.timeStamp);
    return true;
  }
  if (own && (view === 'sheet' || view === 'map')) {
    if (!event.repeat) sheet.press(own.code, event.timeStamp);
    return true;
  }
  if (key in EVERYWHERE) {
    show(EVERYWHERE[key]);
    return true;
  }
  if (view === 'sheet' && (key === 'l' || key === 'a')) {
    if (!event.repeat) DO[FOCUS_KEYS[key]](event.timeStamp);
    return true;
  }
  if (view !== 'focus') return false;
  if (key === 'escape' && !$('light').hidden) {
    focus.stage.toggleLight();
    return true;
  }
  if (key === 'r' && event.shiftKey) {
    focus.stage.rotate(-1);
    return true;
  }
  if (!(key in FOCUS_KEYS)) return false;
  if (!event.repeat || key === '+' || key === '-') DO[FOCUS_KEYS[key]](event.timeStamp);
  return true;
}

function buildArtefacts() {
  $('artefact-choices').replaceChildren(
    ...ARTEFACTS.map(([kind, key, name]) => make('button', { onclick: (event) => artefact(kind, began(event)) }, make('kbd', {}, key), name)),
  );
  $('artefact-cancel').addEventListener('click', () => $('artefact-dialog').close());
}

let asked = null; // what it is asked of, whatever comes meanwhile

function askArtefact(time = performance.now()) {
  if (view === 'sheet' && !model.selection.size) return toast('Select patches first.');
  if (view === 'sheet' ? !sheet.sees(time) : !focus.sees(time)) return;
  if (view === 'focus' && focus.item?.settle) return focus.say('Here only the disputed classes are asked.');
  asked = { item: focus.item, rows: [...model.selection] };
  $('artefact-dialog').showModal();
}

function artefactKey(event) {
  const dialog = $('artefact-dialog');
  if (!dialog.open || event.ctrlKey || event.metaKey) return;
  const key = meaning(event);
  const found = ARTEFACTS.find(([, letter], index) => letter.toLowerCase() === key || String(index + 1) === key);
  if (!found || event.repeat) return;
  event.preventDefault();
  artefact(found[0], event.timeStamp);
}

function artefact(kind, time) {
  $('artefact-dialog').close();
  if (view === 'sheet') sheet.artefact(kind, asked.rows);
  else focus.reader.artefact(kind, time, asked.item);
}

function buildHelp() {
  const keys = model.classes.map((item) => make('li', { colour: item.css }, make('kbd', {}, item.key), make('span', { class: 'dot', 'aria-hidden': 'true' }), `${item.name} (${item.code})`));
  $('help-body').replaceChildren(
    make('section', {}, make('h3', {}, 'Classes'), make('ul', { class: 'help-classes' }, ...keys)),
    ...HELP.map(([title, lines]) => make('section', {}, make('h3', {}, title), make('dl', {}, ...lines.map(([key, text]) => make('div', {}, make('dt', {}, make('kbd', {}, key)), make('dd', {}, text)))))),
  );
  $('help-button').addEventListener('click', () => $('help').showModal());
  $('help-close').addEventListener('click', () => $('help').close());
}

begin();
