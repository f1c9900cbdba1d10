// What is saved, what waits, and what the server would not have.

import { $, confirmed, make, number, plural, toast } from './dom.js';
import { model } from './model.js';

/** Say it as it changes. */
export function followSaving() {
  model.outbox.addEventListener('change', sayState);
  model.outbox.addEventListener('change', sayOld);
  model.outbox.addEventListener('saved', sayState);
  model.outbox.addEventListener('refused', (event) => refused(event.detail));
  $('offline-again').addEventListener('click', () => model.outbox.again());
  $('kept-file').addEventListener('click', download);
  $('kept-forget').addEventListener('click', async () => {
    const count = model.outbox.refusals.length;
    if (await confirmed('Forget them?', `${plural(count, 'answer')} that the server did not take would be gone for good.`, 'Forget them')) model.outbox.forget();
  });
  model.addEventListener('steps', paintSteps);
  paintSteps();
}

export function sayState() {
  const { outbox } = model;
  const waiting = outbox.items.length;
  const place = $('saved');
  const lost = outbox.offline && waiting > 0;
  sayKept();
  place.className = `saved ${lost ? 'is-lost' : waiting ? 'is-waiting' : 'is-saved'}`;
  if (lost) place.textContent = `${plural(waiting, 'answer')} not saved`;
  else if (waiting > 1) place.textContent = `Saving ${waiting} …`;
  else if (waiting) place.textContent = 'Saving …';
  else if (outbox.everSaved) {
    place.textContent = '✓ Saved';
  } else place.textContent = '';
  const banner = $('offline');
  if (lost) {
    const kept = waiting === 1 ? 'your answer is' : `your ${waiting} answers are`;
    const text = outbox.stopped
      ? `Not saved: the server failed ${outbox.failures} times at saving, and its log says why. Nothing is lost: ${kept} kept in this browser. Tell whoever runs the server, then try again.`
      : outbox.blocked
        ? `Not saved: ${outbox.blocked}. ${kept[0].toUpperCase()}${kept.slice(1)} kept in this browser, and sent when it is ${outbox.reader}'s again.`
        : outbox.full
          ? `The server cannot save just now: ${outbox.full}. You can go on: ${kept} kept here and sent as soon as it can. Do not close this page.`
          : `${outbox.failures ? 'The server failed at saving' : 'No connection to the server'}. You can go on: ${kept} kept here and sent as soon as it ${outbox.failures ? 'can' : 'is back'}. Do not close this page.`;
    if ($('offline-text').textContent !== text) $('offline-text').textContent = text;
  }
  $('offline-again').hidden = !outbox.stopped;
  banner.hidden = !lost;
}

/** What the server would not have is kept in this browser, and can be taken as a file. */
function sayKept() {
  const count = model.outbox.refusals.length;
  const last = model.outbox.refusals.at(-1);
  const text = `${plural(count, 'answer')} could not be saved, and ${count === 1 ? 'is' : 'are'} kept in this browser: ${last?.why}${named(last?.places)}.`;
  $('kept').hidden = !count;
  if (count && $('kept-text').textContent !== text) $('kept-text').textContent = text;
}

function download() {
  const lines = model.outbox.refusals.map((item) => JSON.stringify(item)).join('\n');
  const address = URL.createObjectURL(new Blob([`${lines}\n`], { type: 'application/x-ndjson' }));
  make('a', { href: address, download: `answers-${model.reader}-not-saved.jsonl` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

/** Which patches were meant, in brackets. */
function named(places) {
  if (!places?.length) return '';
  const [{ slide, x, y }] = places;
  return places.length === 1 ? ` (patch ${slide}-${x}-${y})` : ` (patch ${slide}-${x}-${y} and ${number(places.length - 1)} more)`;
}

/** The server will not have it: said loudly. */
function refused({ why, places }) {
  sayState();
  model.reread().catch(() => {});
  toast(`Not saved: ${why}${named(places)}`, true);
}

/** The list of patches is another one by now: answers were saved all the same, by their places; the page is of no use. */
async function sayOld() {
  if (!model.outbox.isOld || model.outbox.items.length || saidOld) return;
  saidOld = true;
  if (await confirmed('The patches have changed', 'This page shows an older list of patches. What you answered is saved.', 'Load the page anew')) location.reload();
  saidOld = false;
}
let saidOld = false;

function paintSteps() {
  document.querySelector('[data-do="undo"]').disabled = !model.canUndo;
  document.querySelector('[data-do="redo"]').disabled = !model.canRedo;
}
