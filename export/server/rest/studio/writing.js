// A text that is being written, and all texts of a visit. Pure functions: no value is ever changed.
//
// A text is `{ pieces, start, request, model, typing }`: its characters, `{ text, log_probability }`, the latter only where
// the model has given it; the number of characters before the last continuation and the request that made it,
// `{ model, url, inputs }`, both missing if the text was edited since; the model that gave the probabilities, which is
// another if it has read the text since; whether the next key press belongs to it.

/** A text that was not typed here. */
export const fresh = (text) => ({ pieces: [...text].map((one) => ({ text: one })) });

/** The characters of a text as a string. */
export const whole = ({ pieces }) => pieces.map(({ text }) => text).join('');

/** The text after an edit of `before`. The characters before the edit keep their probabilities: those of the
 *  others depended on the edited characters. */
export const edited = (before, text) => {
  const characters = [...text];
  const differs = characters.findIndex((character, n) => character !== before.pieces[n]?.text);
  const same = differs < 0 ? characters.length : differs;
  const pieces = [...before.pieces.slice(0, same), ...fresh(characters.slice(same)).pieces];
  return { pieces, model: before.model, typing: !/\s$/.test(text) };
};

/** The first characters of a text. */
export const cut = ({ pieces, model }, count) => ({ pieces: pieces.slice(0, count), model });

/** A text without its last continuation. */
export const beginning = (text) => cut(text, text.start ?? text.pieces.length);

/** A text with a continuation. */
export const continued = (text, added, request) => ({
  pieces: [...text.pieces, ...added],
  start: text.pieces.length,
  request,
  model: request.model,
});

/** A text with the probabilities of all characters but the first. */
export const read = (text, logProbabilities, model) => ({
  ...text,
  pieces: text.pieces.map(({ text: one }, n) => (n ? { text: one, log_probability: logProbabilities[n - 1] } : { text: one })),
  model,
  typing: false,
});

/** A text as a model sees it: without the probabilities of another model. */
export const seenBy = (text, model) => ([model, undefined].includes(text.model) ? text : fresh(whole(text)));

/** The texts of a visit, at the first of them. */
export const opened = (text) => ({ texts: [text], at: 0 });

export const current = ({ texts, at }) => texts[at];

/** Adds a text. Undone texts stay: undo reaches them after the text that this one was made from. */
export const pushed = ({ texts, at }, text) => {
  const all = at < texts.length - 1 ? [...texts, texts[at], text] : [...texts, text];
  return { texts: all, at: all.length - 1 };
};

/** Replaces the current text. */
export const replaced = ({ texts, at }, text) => ({ texts: texts.map((one, n) => (n === at ? text : one)), at });

/** Adds a text that was typed. A word is one step of undo. */
export const typed = (history, text) => {
  const isLast = history.at === history.texts.length - 1;
  return isLast && current(history).typing ? replaced(history, text) : pushed(history, text);
};

/** Goes back by a negative number of steps, forward by a positive one. */
export const moved = ({ texts, at }, steps) => ({ texts, at: Math.max(0, Math.min(texts.length - 1, at + steps)) });

// ---- What is drawn together

const GRAPHEMES = new Intl.Segmenter(undefined, { granularity: 'grapheme' });
const JOINING = /\p{Script=Arabic}|\p{Script=Syriac}|\p{Script=Mongolian}|\p{Script=Nko}|\p{Script=Adlam}|\p{Script=Mandaic}/u;

/** Groups characters that are drawn as one, such as a letter with its marks; the length of each group, in order.
 *  `joined`: the letters of a script that joins them are one group, too. */
export const groups = (pieces, joined) => {
  const found = [];
  let last = '';
  for (const { segment } of GRAPHEMES.segment(whole({ pieces }))) {
    const { length } = [...segment];
    if (joined && JOINING.test(last) && JOINING.test(segment)) found[found.length - 1] += length;
    else found.push(length);
    last = segment;
  }
  return found;
};

/** The lengths of the boxes of a text: one for each group, but one for consecutive groups without probabilities. */
export const boxes = (pieces, joined) => {
  const found = [];
  let at = 0;
  let afterOwn = false;
  for (const length of groups(pieces, joined)) {
    const own = pieces.slice(at, at + length).every(({ log_probability }) => log_probability === undefined);
    if (own && afterOwn) found[found.length - 1] += length;
    else found.push(length);
    afterOwn = own;
    at += length;
  }
  return found;
};
