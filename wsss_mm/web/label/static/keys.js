// What a key means, on any layout: digits by their place, letters by what is printed on them where that is a Latin letter.

/** '1', 'a', 'enter', '+', '?' ... of a key event. */
export function meaning(event) {
  const digit = /^(?:Digit|Numpad)(\d)$/.exec(event.code);
  if (digit && (!event.code.startsWith('Numpad') || /^\d$/.test(event.key))) return digit[1];
  if (['+', '-', '?', '='].includes(event.key)) return event.key;
  if (event.code === 'NumpadAdd') return '+';
  if (event.code === 'NumpadSubtract') return '-';
  if (/^[a-z]$/i.test(event.key)) return event.key.toLowerCase();
  const letter = /^Key([A-Z])$/.exec(event.code); // Cyrillic, Greek, Arabic ...: by the place of the key
  if (letter) return letter[1].toLowerCase();
  return event.key === ' ' ? 'space' : event.key.toLowerCase();
}

/** Whether the key is meant for what has the focus, such as a field of text or a list. */
export function isTyping(event) {
  const at = event.target;
  if (!(at instanceof HTMLElement)) return false;
  if (at.isContentEditable || at.tagName === 'TEXTAREA' || at.tagName === 'SELECT') return true;
  return at.tagName === 'INPUT' && at.type !== 'checkbox' && (at.type !== 'range' || event.key.startsWith('Arrow'));
}

/** Whether Enter or the space bar would press what has the focus. */
export function isPressing(event) {
  return event.target instanceof HTMLElement && event.target.closest('button, a, summary, [role="option"] button') !== null;
}

const SPARE = [...'qweyogjkvxz'];

/** One key a class: 1 to 9, then letters that mean nothing else. */
export function classKeys(vocabulary) {
  return vocabulary.map((_, index) => (index < 9 ? String(index + 1) : (SPARE[index - 9] ?? '')));
}

export const HELP = [
  [
    'The patch',
    [
      ['1 – 9', 'a class is here; again: unsure; again: off'],
      ['Enter', 'save and go on; what was not pressed is absent'],
      ['N or 0', 'nothing of these'],
      ['A', 'artefact, then P pen, F fold, B blur, A air, O other'],
      ['S', 'skip: no answer'],
      ['C', 'take what is suggested (then Enter saves it)'],
      ['Backspace', 'back to the patch before'],
      ['Ctrl+Z', 'undo, as often as you like'],
      ['Ctrl+Shift+Z', 'redo'],
    ],
  ],
  [
    'The picture',
    [
      ['+  –', 'zoom; the wheel too, and drag to move'],
      ['R', 'rotate; Shift+R back'],
      ['B', 'brightness and contrast, for your eyes only'],
      ['I', "copy the patch's name"],
      ['L', 'more like this'],
    ],
  ],
  [
    'The sheet',
    [
      ['Arrows', 'move; with Shift: select on the way'],
      ['Space', 'select or unselect'],
      ['Ctrl+A', 'select all that is shown'],
      ['Esc', 'select nothing'],
      ['1 – 9', 'a class is in all that is selected, besides what they hold already'],
      ['D', 'done: of the selected, what was not said is absent'],
      ['Enter', 'open in focus'],
    ],
  ],
  [
    'Draw',
    [
      ['V  S  A', 'move, choose, outline'],
      ['B  E  N', 'brush, eraser, take over from the segmentation'],
      ['1 – 9, 0', 'class, region of interest; of the chosen area too'],
      ['Space', 'a corner, or a dab, in the middle of the picture'],
      ['Enter', 'close the outline'],
      ['Backspace', 'take the last corner back, or delete the chosen area'],
      ['[  ]', 'a narrower or wider brush'],
    ],
  ],
  [
    'Everywhere',
    [
      ['F  T  M  H  P', 'focus, sheet (thumbnails), map, draw (by hand), progress'],
      ['U', 'suggestions on or off'],
      ['?', 'this page'],
    ],
  ],
];
