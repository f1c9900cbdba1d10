// Small help with the page's elements. Names from outside enter as text alone.

export const $ = (id) => document.getElementById(id);

/** An element with attributes, listeners (`onclick`) and children, texts among them. */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
    else if (key === 'colour') element.style.setProperty('--colour', value);
    else if (key === 'class') element.className = value;
    else element.setAttribute(key, value === true ? '' : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export function drawn(name, attributes = {}, ...children) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

export function options(select, entries, value) {
  select.replaceChildren(...entries.map(([key, text]) => make('option', { value: key }, text)));
  select.value = value;
}

export const number = (value) => value.toLocaleString('en-GB');
export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;

/** Whether a part of the page is not yet what it will be in a moment: screen readers wait for it, and so do tests. */
export const setBusy = (element, is) => element.setAttribute('aria-busy', String(is));

/** After the next frame is on the screen. */
export function afterPaint(then) {
  requestAnimationFrame(() => {
    const channel = new MessageChannel();
    channel.port1.onmessage = then;
    channel.port2.postMessage(null);
  });
}

let clearing;
/** Say something in passing. */
export function toast(text, isBad = false) {
  const place = $('toast');
  place.textContent = text;
  place.classList.toggle('bad', isBad);
  place.classList.add('on');
  clearTimeout(clearing);
  clearing = setTimeout(() => place.classList.remove('on'), isBad ? 8000 : 2600);
}

/** Ask before something large. */
export function confirmed(title, text, yes) {
  const dialog = $('confirm-dialog');
  $('confirm-title').textContent = title;
  $('confirm-text').textContent = text;
  $('confirm-yes').textContent = yes;
  dialog.showModal();
  return new Promise((resolve) => {
    let answer = false;
    $('confirm-yes').onclick = () => {
      answer = true;
      dialog.close();
    };
    $('confirm-no').onclick = () => dialog.close();
    dialog.addEventListener('close', () => resolve(answer), { once: true });
  });
}
