// How far it is: counts, the learning curve, agreement, and what waits to be settled.

import { $, afterPaint, drawn, make, number, plural, setBusy } from './dom.js';
import { ANSWERED, model, SIGNS } from './model.js';
import { get } from './net.js';

let again;

/** Whether the learning curve is still on its way. */
function isBeingDrawn(curve) {
  let answered = 0;
  for (const state of model.rowState) if (state === ANSWERED) answered += 1;
  return answered >= 50 && !curve.failed && !curve.error && !curve.advice && !curve.labels?.length;
}

/** Draw the view anew; `settle` opens the disagreements. */
export async function showProgress(settle) {
  const place = $('view-progress');
  setBusy(place, true);
  await draw(place, settle);
  afterPaint(() => setBusy(place, false));
}

async function draw(place, settle) {
  if (!place.childElementCount) place.replaceChildren(make('p', { class: 'muted' }, 'Counting …'));
  const ask = (path) => get(path).catch((error) => ({ failed: error }));
  const [state, curve, agreement, disputes] = await Promise.all([
    model.refreshState().catch((error) => ({ failed: error })),
    ask('/api/curve'),
    ask('/api/agreement'),
    ask('/api/disputes'),
  ]);
  if (state.failed) {
    place.replaceChildren(make('p', { class: 'muted' }, `The server cannot be asked just now: ${state.failed.message}`));
    return;
  }
  const isDrawn = isBeingDrawn(curve);
  clearTimeout(again);
  if (isDrawn) again = setTimeout(() => !place.hidden && showProgress(settle), 2500);
  place.replaceChildren(
    make('div', { class: 'cards' }, totals(state), classes(state.progress.classes), learning(curve, isDrawn), disputesCard(disputes, settle), agreementCard(agreement), shares('Slides', state.progress.slides), shares('Sites', state.progress.sites), readers(state.progress.readers)),
  );
}

function card(title, ...content) {
  return make('section', { class: 'card' }, make('h2', {}, title), ...content);
}

function totals(state) {
  const counts = [0, 0, 0, 0];
  for (let row = 0; row < model.count; row += 1) counts[model.rowState[row]] += 1;
  const fact = (value, text) => make('div', { class: 'fact' }, make('strong', {}, number(value)), make('span', {}, text));
  return card(
    'Your work',
    make('div', { class: 'facts-row' }, fact(counts[1] + counts[3], 'answered'), fact(model.answeredNow.size, 'since you opened this page'), fact(counts[2], 'skipped'), fact(counts[3], 'artefacts'), fact(model.count, 'patches in all')),
    state.features?.progress < 1 ? make('p', { class: 'muted' }, `The patches are being looked at (${Math.round(state.features.progress * 100)} %): order, map and curve get better when it is done.`) : null,
  );
}

function classes(progress) {
  const most = Math.max(1, ...Object.values(progress).map((item) => item.present + item.unsure));
  return card(
    'Classes',
    make(
      'table',
      { class: 'bars' },
      make('thead', {}, make('tr', {}, ...['Class', 'Present', '', 'Unsure', 'Absent'].map((text) => make(text ? 'th' : 'td', text ? { scope: 'col' } : {}, text)))),
      make(
        'tbody',
        {},
        ...model.classes.map((item) => {
          const said = progress[item.code] ?? { present: 0, unsure: 0, absent: 0 };
          const bar = make('span', { class: 'bar-fill', colour: item.css });
          bar.style.width = `${(100 * said.present) / most}%`;
          return make('tr', {}, make('th', { scope: 'row' }, item.name), make('td', { class: 'count-cell' }, `${SIGNS.present} ${number(said.present)}`), make('td', { class: 'bar-cell' }, bar), make('td', { class: 'count-cell' }, `${SIGNS.unsure} ${number(said.unsure)}`), make('td', { class: 'count-cell' }, `${SIGNS.absent} ${number(said.absent)}`));
        }),
      ),
    ),
  );
}

function shares(title, items) {
  if (!items?.length || (title === 'Sites' && items.length === 1 && !items[0].id)) return null;
  return card(
    title,
    make(
      'div',
      { class: 'table-scroll', tabindex: items.length > 8 ? 0 : null, role: 'region', 'aria-label': title },
      make(
        'table',
        { class: 'bars' },
        make('thead', {}, make('tr', {}, make('th', { scope: 'col' }, title.slice(0, -1)), make('th', { scope: 'col' }, 'Answered'), make('td', {}, ''))),
        make(
          'tbody',
          {},
          ...items.map((item) => {
            const bar = make('span', { class: 'bar-fill' });
            bar.style.width = `${(100 * item.answered) / Math.max(1, item.count)}%`;
            return make('tr', {}, make('th', { scope: 'row' }, item.id ?? 'unknown'), make('td', { class: 'count-cell' }, `${number(item.answered)} of ${number(item.count)}`), make('td', { class: 'bar-cell' }, bar));
          }),
        ),
      ),
    ),
  );
}

function readers(items) {
  if (!items?.length) return null;
  return card(
    'Readers',
    make('table', { class: 'bars' }, make('thead', {}, make('tr', {}, make('th', { scope: 'col' }, 'Reader'), make('th', { scope: 'col' }, 'Answered'))), make('tbody', {}, ...items.map((item) => make('tr', {}, make('th', { scope: 'row' }, item.id === model.reader ? `${item.id} (you)` : item.id), make('td', { class: 'count-cell' }, number(item.answered)))))),
    make('p', { class: 'muted' }, 'You see how many patches others have answered, and not what they said.'),
  );
}

function learning(curve, isDrawn) {
  if (curve?.failed || !curve?.mean_ap?.some(Number.isFinite)) {
    const why =
      curve?.advice ||
      curve?.error ||
      (curve?.failed && curve.failed.status !== 404 ? curve.failed.message : '') ||
      (isDrawn ? 'The learning curve is being drawn …' : 'The learning curve begins after about 50 answers from two slides or more. It shows how much more answers would still bring.');
    return card('Is it enough?', make('p', { class: 'muted' }, why));
  }
  const sound = curve.labels.map((_, at) => at).filter((at) => Number.isFinite(curve.mean_ap[at]));
  const pick = (list) => (list?.length ? sound.map((at) => list[at] ?? curve.mean_ap[at]) : []);
  curve = { ...curve, labels: pick(curve.labels), mean_ap: pick(curve.mean_ap), low: pick(curve.low), high: pick(curve.high) };
  const [width, height, left, bottom, top, right] = [460, 220, 44, 34, 12, 14];
  const most = Math.max(...curve.labels);
  const x = (value) => left + ((width - left - right) * value) / most;
  const y = (value) => top + (height - top - bottom) * (1 - Math.min(1, Math.max(0, value)));
  const line = (values) => values.map((value, at) => `${x(curve.labels[at]).toFixed(1)},${y(value).toFixed(1)}`);
  const parts = [];
  for (const value of [0, 0.25, 0.5, 0.75, 1]) {
    parts.push(drawn('line', { x1: left, x2: width - right, y1: y(value), y2: y(value), class: 'grid' }), drawn('text', { x: left - 6, y: y(value) + 4, 'text-anchor': 'end' }, `${Math.round(value * 100)}%`));
  }
  const ticks = curve.labels.length > 7 ? curve.labels.filter((_, at) => at % Math.ceil(curve.labels.length / 6) === 0 || at === curve.labels.length - 1) : curve.labels;
  for (const value of ticks) parts.push(drawn('text', { x: x(value), y: height - 14, 'text-anchor': 'middle' }, number(value)));
  parts.push(drawn('text', { x: width - right, y: height - 1, 'text-anchor': 'end', class: 'axis' }, 'answers'));
  if (curve.low?.length && curve.high?.length) parts.push(drawn('polygon', { points: [...line(curve.low), ...line(curve.high).reverse()].join(' '), class: 'spread' }));
  parts.push(drawn('polyline', { points: line(curve.mean_ap).join(' '), class: 'curve' }));
  curve.mean_ap.forEach((value, at) => parts.push(drawn('circle', { cx: x(curve.labels[at]), cy: y(value), r: 3.5, class: 'curve-dot' })));
  const last = curve.mean_ap.at(-1);
  const picture = drawn('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': `Learning curve: ${Math.round(last * 100)} percent after ${most} answers`, class: 'curve-picture' }, ...parts);
  return card('Is it enough?', picture, make('p', { class: 'muted' }, 'How well a quick trial on other slides tells the classes apart, after so many answers. Where it is flat, more of the same teach little.'), curve.advice ? make('p', { class: 'advice' }, curve.advice) : null);
}

function agreementCard(agreement) {
  if (!agreement || agreement.failed) return null;
  const rows = [...(agreement.between ?? []).map((item) => [item.readers.join(' and '), item]), ...(agreement.within ?? []).map((item) => [`${item.reader}, twice the same patch`, item])];
  if (!rows.length) return card('Agreement', make('p', { class: 'muted' }, 'Shown when two readers have answered the same patches, or one reader some of them twice.'));
  const value = (number_) => (typeof number_ === 'number' ? number_.toFixed(2) : '–');
  return card(
    'Agreement',
    make(
      'div',
      { class: 'table-scroll', tabindex: 0, role: 'region', 'aria-label': 'Agreement' },
      make(
        'table',
        {},
        make('thead', {}, make('tr', {}, ...['Readers', 'Class', 'Patches', 'Kappa', 'In words'].map((text) => make('th', { scope: 'col' }, text)))),
        make('tbody', {}, ...rows.map(([who, item]) => make('tr', {}, make('td', {}, who), make('td', {}, item.code), make('td', { class: 'count-cell' }, number(item.n)), make('td', { class: 'count-cell' }, typeof item.kappa === 'number' ? `${value(item.kappa)} (${value(item.low)} to ${value(item.high)})` : '–'), make('td', {}, inWords(item))))),
      ),
    ),
    make('p', { class: 'muted' }, "Cohen's kappa: 1 is full agreement, 0 is what chance alone would give. In brackets: where it lies with 95 % confidence."),
  );
}

function inWords({ kappa, low, high }) {
  if (typeof kappa !== 'number' || high - low > 0.5) return 'too few to say';
  const steps = [[0.2, 'slight'], [0.4, 'fair'], [0.6, 'moderate'], [0.8, 'substantial'], [Infinity, 'almost perfect']];
  return kappa < 0 ? 'poor' : steps.find(([most]) => kappa <= most)[1];
}

function disputesCard(disputes, settle) {
  if (!disputes || disputes.failed) return null;
  const count = disputes.places.length;
  return card('Disagreements', make('p', {}, count ? `${plural(count, 'patch', 'patches')} where readers disagree.` : 'No disagreement waits to be settled.'), count ? make('button', { class: 'primary small-primary', onclick: settle }, 'Settle them') : null, make('p', { class: 'muted' }, 'You see the patch and which classes are disputed, not who said what.'));
}
