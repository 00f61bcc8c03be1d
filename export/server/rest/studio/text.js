// The generated text on the page, and what the model thought of each of its characters.

import * as logic from './logic.js';

const $ = (id) => document.getElementById(id);

let prefix = '';
let added = []; // {text, log_probability} of the characters after it

export const count = () => added.length;
export const whole = () => prefix + added.map(({ text }) => text).join('');

const piece = ({ text, log_probability }, index) => {
  const probability = Math.exp(log_probability);
  const span = document.createElement('span');
  span.textContent = text;
  span.className = `level-${logic.level(probability)}${text === '\n' ? ' line-break' : ''}`;
  span.dataset.probability = logic.percent(probability);
  span.dataset.index = index;
  return span;
};

export const showFigures = (seconds) => {
  const nats = added.reduce((sum, { log_probability }) => sum - log_probability, 0);
  $('count').textContent = added.length.toLocaleString('en');
  $('speed').textContent = added.length ? Math.round(added.length / seconds).toLocaleString('en') : '–';
  $('perplexity').textContent = added.length ? Math.exp(nats / added.length).toFixed(2) : '–';
};

export const start = (given) => {
  prefix = given;
  added = [];
  const span = document.createElement('span');
  span.className = 'given';
  span.textContent = given;
  $('text').replaceChildren(span);
  $('detail').textContent = '';
  $('text').parentElement.scrollIntoView({ block: 'nearest' });
};

/** Adds characters; the page follows them while its reader looks at the end of the text. */
export const append = (some) => {
  const paper = $('text').parentElement;
  const follows = paper.getBoundingClientRect().bottom <= innerHeight + 1;
  $('text').append(...some.map((one, n) => piece(one, added.length + n)));
  added.push(...some);
  if (follows) paper.scrollIntoView({ block: 'end' });
};

/** Empties the page of the text. */
export const clear = () => {
  prefix = '';
  added = [];
  $('text').replaceChildren();
  $('detail').textContent = '';
  for (const id of ['count', 'speed', 'perplexity']) $(id).textContent = '–';
};

/** Says what the model thought of one character, and marks it. */
const inspect = (index) => {
  $('text').querySelector('.current')?.classList.remove('current');
  if (!added[index]) return;
  const { text, log_probability } = added[index];
  $('text').querySelector(`[data-index="${index}"]`).classList.add('current');
  const probability = Number(Math.exp(log_probability).toPrecision(3));
  $('detail').textContent =
    `${logic.named(text)} ${logic.codePoint(text)}: probability ${probability}, ${(-log_probability).toFixed(2)} nats; character ${index + 1} of ${added.length}`;
};

const move = (event) => {
  const right = getComputedStyle($('text')).direction === 'rtl' ? -1 : 1;
  const forward = { ArrowRight: right, ArrowLeft: -right, Home: -Infinity, End: Infinity }[event.key];
  if (!forward || !added.length) return;
  event.preventDefault();
  const current = Number($('text').querySelector('.current')?.dataset.index ?? (forward > 0 ? -1 : added.length));
  inspect(Math.max(0, Math.min(added.length - 1, current + forward)));
  $('text').querySelector('.current').scrollIntoView({ block: 'nearest' });
};

export const listen = () => {
  $('text').addEventListener('keydown', move);
  $('text').addEventListener('pointerover', ({ target }) => target.dataset.index && inspect(Number(target.dataset.index)));
  $('numbers').addEventListener('change', () => $('text').classList.toggle('numbers', $('numbers').checked));
};
