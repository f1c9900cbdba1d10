// Pictures that are loaded and decoded before they are asked for, the last ones kept.

import { versioned } from './net.js';

const MOST = 72;
const kept = new Map(); // url -> { image, ready }

export const url = (row, part) => versioned(`/image/${row}.jpg?part=${part}`);

/** Why there is no picture: `{ error, gone }`, or null where the server cannot be asked. */
export async function whyNot(address) {
  try {
    const reply = await fetch(address, { credentials: 'same-origin', cache: 'no-store' });
    if (reply.ok || reply.status >= 500) return null;
    const said = await reply.json().catch(() => null);
    return { error: said?.error ?? `the server answered ${reply.status}`, gone: reply.status === 410 };
  } catch {
    return null;
  }
}

/** A decoded picture, from memory where it is there. */
export function picture(address) {
  let found = kept.get(address);
  if (found) {
    kept.delete(address); // the last used one is the last to go
  } else {
    const image = new Image();
    image.decoding = 'async';
    image.draggable = false;
    image.alt = '';
    image.src = address;
    found = { image, done: false };
    found.ready = image.decode().then(
      () => {
        found.done = true;
        return image;
      },
      (error) => {
        kept.delete(address);
        throw error;
      },
    );
    found.ready.catch(() => {});
  }
  kept.set(address, found);
  while (kept.size > MOST) kept.delete(kept.keys().next().value);
  return found;
}
