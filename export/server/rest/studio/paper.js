// The text on the page. A text field shows it. Boxes behind the field, or instead of it with numbers, show the
// probabilities by their shade. Characters that are drawn as one share a box. So do consecutive characters without
// probabilities, which are called own: the writer's.

import * as logic from './logic.js';
import * as writing from './writing.js';

const $ = (id) => document.getElementById(id);
const field = $('text');
const shades = $('shades');

let pieces = [];
let say = () => '';

const unlikeliest = (group) => Math.min(...group.map(({ log_probability }) => log_probability));

const box = (group, index) => {
  const span = document.createElement('span');
  span.textContent = group.map(({ text }) => text).join('');
  span.dataset.index = index;
  const known = group.filter((one) => one.log_probability !== undefined);
  if (known.length) {
    span.className = `level-${logic.level(Math.exp(unlikeliest(known)))}${span.textContent === '\n' ? ' line-break' : ''}`;
    span.dataset.probability = known.map((one) => logic.percent(one.log_probability)).join(' ');
  } else {
    span.className = 'own';
  }
  return span;
};

/** Draws the box that contains the character `index`, and all boxes after it. */
const draw = (index) => {
  while (shades.lastChild && Number(shades.lastChild.dataset.index) >= index) shades.lastChild.remove();
  let at = Number(shades.lastChild?.dataset.index ?? 0);
  shades.lastChild?.remove(); // the characters at `index` may belong to it
  const made = [];
  for (const length of writing.boxes(pieces.slice(at), field.hidden)) {
    made.push(box(pieces.slice(at, at + length), at));
    at += length;
  }
  shades.append(...made);
};

/** Shows a text. `caret`: the number of characters before the cursor; by default the cursor stays. */
export const show = (text, caret) => {
  const same = text.pieces.findIndex((piece, n) => piece !== pieces[n]);
  pieces = [...text.pieces];
  const value = writing.whole(text);
  if (field.value !== value) field.value = value;
  if (caret !== undefined) field.setSelectionRange(offset(caret), offset(caret));
  draw(same < 0 ? pieces.length : same);
};

/** Adds characters at the end. The page scrolls with them if the end of the text is in sight. */
export const append = (added) => {
  const end = $('status').getBoundingClientRect().bottom;
  const follows = end <= innerHeight + 1;
  pieces.push(...added);
  field.setRangeText(added.map(({ text }) => text).join(''), field.value.length, field.value.length, 'preserve');
  draw(pieces.length - added.length);
  if (follows) $('status').scrollIntoView({ block: 'end' });
};

const offset = (index) => pieces.slice(0, index).reduce((sum, { text }) => sum + text.length, 0);

/** Moves the focus to the text. */
export const focus = () => (field.hidden ? shades : field).focus();

/** Selects the text. */
export const select = () => {
  focus();
  if (field.hidden) getSelection().selectAllChildren(shades);
  else field.select();
};

/** The number of characters before the cursor. */
const caret = () => [...field.value.slice(0, field.selectionStart)].length;

/** The index of the character at the cursor or, with numbers, of the marked one. */
export const place = () => (field.hidden ? Number(shades.querySelector('.current')?.dataset.index ?? pieces.length) : caret());

const boxOf = (index) => [...shades.children].findLast((one) => Number(one.dataset.index) <= index);

/** Shows the probability of a character, and marks it. */
export const inspect = (index) => {
  shades.querySelector('.current')?.classList.remove('current');
  const piece = pieces[index];
  if (!piece) {
    $('detail').textContent = say('detail-hint');
    return;
  }
  const { text, log_probability } = piece;
  if (log_probability !== undefined || field.hidden) boxOf(index).classList.add('current');
  const known = log_probability !== undefined && { probability: logic.probability(log_probability), nats: logic.nats(log_probability) };
  $('detail').textContent = say('detail', {
    name: logic.named(text, say),
    code: logic.codePoint(text),
    number: index + 1,
    count: pieces.length,
    ...known,
  });
};

const boxAt = (x, y) => document.elementsFromPoint(x, y).find((one) => one.parentElement === shades);

/** The index of the clicked character in a box of own characters: the one before or after the cursor, which the click
 *  has set. */
const ownIndexAt = ({ dataset, firstChild }, x) => {
  const first = Number(dataset.index);
  const start = offset(first);
  const range = document.createRange();
  return [caret() - 1, caret()].find((index) => {
    const from = offset(index) - start;
    const to = offset(index + 1) - start;
    if (index < first || to > firstChild.data.length) return false;
    range.setStart(firstChild, from);
    range.setEnd(firstChild, to);
    const { left, right } = range.getBoundingClientRect();
    return left <= x && x <= right;
  });
};

/** The index of the character that was clicked at a place of the window; undefined if there is none. */
export const indexAt = (x, y) => {
  const found = boxAt(x, y);
  return found?.classList.contains('own') ? ownIndexAt(found, x) : found && Number(found.dataset.index);
};

/** Shows each character over its probability, or the text field. */
export const showNumbers = (shown) => {
  field.hidden = shown;
  shades.classList.toggle('numbers', shown);
  if (shown) {
    shades.removeAttribute('aria-hidden');
    shades.tabIndex = 0;
    shades.setAttribute('role', 'group');
  } else {
    for (const name of ['tabindex', 'role']) shades.removeAttribute(name);
    shades.setAttribute('aria-hidden', 'true');
  }
  draw(0);
};

/** Moves the mark by the arrow keys. Without numbers, the text field has a cursor instead. */
const move = (event) => {
  const right = getComputedStyle(shades).direction === 'rtl' ? -1 : 1;
  const forward = { ArrowRight: right, ArrowLeft: -right, Home: -Infinity, End: Infinity }[event.key];
  if (!forward || !pieces.length) return;
  event.preventDefault();
  const boxes = [...shades.children];
  const marked = boxes.findIndex((one) => one.classList.contains('current'));
  const from = marked < 0 && forward < 0 ? boxes.length : marked;
  const next = Math.max(0, Math.min(boxes.length - 1, from + forward));
  inspect(Number(boxes[next].dataset.index));
  boxes[next].scrollIntoView({ block: 'nearest' });
};

const hover = ({ clientX, clientY }) => {
  const found = boxAt(clientX, clientY);
  if (found?.dataset.probability) inspect(Number(found.dataset.index));
};

/** Changes the language: `with_` is a speaker of messages.js. */
export const speak = (with_) => {
  say = with_;
  field.placeholder = say('placeholder');
  shades.setAttribute('aria-label', say('numbers-view'));
};

export const listen = () => {
  shades.addEventListener('keydown', move);
  shades.parentElement.addEventListener('pointermove', hover);
  document.addEventListener('selectionchange', () => {
    if (document.activeElement === field && !field.readOnly) inspect(caret());
  });
};
