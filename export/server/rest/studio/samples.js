// Continuations side by side; the user chooses one.

import * as logic from './logic.js';

const section = document.getElementById('samples');

const element = (name, className, text = '') => {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
};

const piece = ({ text, log_probability }) => element('span', `level-${logic.level(Math.exp(log_probability))}`, text);

/** Empties the section and hides it. */
export const close = () => {
  section.replaceChildren();
  section.hidden = true;
};

/** Opens a column for each of `count` samples. Calls `choose` with the number of the chosen one, or `leave`. */
export const open = (count, { say, lang, choose, leave }) => {
  const columns = Array.from({ length: count }, (_, n) => {
    const column = element('article', 'sample');
    const text = element('div', 'text');
    text.dir = 'auto';
    text.lang = lang;
    const button = element('button', '', say('choose', { number: n + 1 }));
    button.type = 'button';
    button.disabled = true;
    button.addEventListener('click', () => choose(n));
    column.setAttribute('aria-label', say('sample', { number: n + 1 }));
    column.append(text, button);
    return { column, text, button };
  });
  const none = element('button', 'none', say('choose-none'));
  none.type = 'button';
  none.addEventListener('click', leave);
  section.replaceChildren(...columns.map(({ column }) => column), none);
  section.hidden = false;
  section.scrollIntoView({ block: 'nearest' });
  return columns.map(({ text, button }) => ({
    append: (added) => text.append(...added.map(piece)),
    fail: (message) => text.append(element('p', 'error', message)),
    enable: () => {
      button.disabled = false;
    },
  }));
};

/** Moves the focus to the first sample that can be chosen. */
export const focus = () => section.querySelector('button:enabled')?.focus();
