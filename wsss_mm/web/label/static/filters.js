// Which patches are shown: filters, sets, and what is said of them.

import { $, number, options, plural } from './dom.js';
import { model } from './model.js';
import { sheet } from './sheet.js';

/** The form of filters. */
export function buildFilters() {
  const form = $('filters');
  const field = (name) => form.elements[name];
  options(field('slide'), [['', 'all'], ...model.slides.map((slide) => [slide.id, slide.id])], '');
  const sites = [...new Set(model.slides.map((slide) => slide.site).filter(Boolean))].sort();
  options(field('site'), [['', 'all'], ...sites.map((site) => [site, site])], '');
  options(field('class'), [['', 'any'], ...model.classes.map((item) => [item.code, item.name])], '');
  const paint = () => {
    for (const [name, value] of Object.entries(model.filters)) field(name).value = value;
    field('has').disabled = !model.filters.class;
    $('filters-count').textContent = model.filtersInUse;
    $('filters-count').hidden = model.filtersInUse === 0;
  };
  form.addEventListener('input', () => {
    model.setFilters(Object.fromEntries(new FormData(form)));
    paint();
  });
  form.addEventListener('submit', (event) => event.preventDefault());
  form.addEventListener('reset', (event) => {
    event.preventDefault();
    model.clearFilters();
    paint();
  });
  $('filters-toggle').addEventListener('click', () => {
    form.hidden = !form.hidden;
    $('filters-toggle').setAttribute('aria-expanded', String(!form.hidden));
    sheet.layout();
  });
  $('set-chip').querySelector('button').addEventListener('click', () => model.setSet(null));
  $('selected-chip').querySelector('button').addEventListener('click', () => model.select([], null));
  for (const name of ['shown', 'selection', 'answers']) model.addEventListener(name, sayShown);
  paint();
}

/** How many patches are shown, and which are selected. */
export function sayShown() {
  let open = 0;
  for (const row of model.shown) if (model.rowState[row] === 0) open += 1;
  $('shown').textContent = `${plural(model.shown.length, 'patch', 'patches')}, ${number(open)} without an answer`;
  $('set-chip').hidden = !model.set;
  if (model.set) $('set-chip').querySelector('span').textContent = model.set.label;
  $('selected-chip').hidden = model.selection.size === 0;
  $('selected-chip').querySelector('span').textContent = `${number(model.selection.size)} selected`;
}
