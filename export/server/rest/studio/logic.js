// What the page knows without touching it: limits, events, probabilities, the curl command. Pure functions.

const NUMBERS = ['length', 'temperature', 'top_k', 'top_p', 'seed'];
export const KNOBS = [...NUMBERS, 'stop'];
export const DEFAULTS = { temperature: '0.8', top_k: '0', top_p: '1', seed: '1', stop: '' };

const LOWEST = [0.9, 0.5, 0.2, 0.05, 0.01]; // of each level's probabilities, but the last's

/** The level of shade of a probability: 0, none, for the likely, up to 5. */
export const level = (probability) => {
  const found = LOWEST.findIndex((lowest) => probability >= lowest);
  return found < 0 ? LOWEST.length : found;
};

/** What the legend says of each level, in order. */
export const levelNames = () => [...LOWEST.map((p) => `≥ ${p * 100}%`), `< ${LOWEST.at(-1) * 100}%`];

/** A probability in two or three characters' room. */
export const percent = (probability) => {
  const value = probability * 100;
  if (value < 0.1) return '<0.1%';
  return `${value < 9.95 ? value.toFixed(1) : Math.min(99, Math.round(value))}%`;
};

/** 'U+5427' of a character. */
export const codePoint = (character) => `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, '0')}`;

const INVISIBLE = {
  '\n': 'line break',
  '\r': 'carriage return',
  '\t': 'tab',
  ' ': 'space',
  '\u00a0': 'no-break space',
  '\u00ad': 'soft hyphen',
  '\u200b': 'zero width space',
  '\u200c': 'zero width non-joiner',
  '\u200d': 'zero width joiner',
  '\u200e': 'left-to-right mark',
  '\u200f': 'right-to-left mark',
  '\u2028': 'line separator',
  '\u2029': 'paragraph separator',
  '\u202f': 'narrow no-break space',
  '\u2060': 'word joiner',
  '\u3000': 'wide space',
  '\ufeff': 'byte order mark',
};

/** A character as it can be spoken of: one without a shape of its own by its name or its kind. */
export const named = (character) => {
  if (INVISIBLE[character]) return INVISIBLE[character];
  if (/\p{M}/u.test(character)) return `combining mark ‘\u25cc${character}’`;
  return /[\p{C}\p{Z}]/u.test(character) ? 'invisible character' : `‘${character}’`;
};

/** A sentence for a prefix that the model could read in another normal form of Unicode; else ''. */
const normalHint = (prefix, vocabulary) => {
  const form = ['NFC', 'NFD'].find((one) => absent(prefix.normalize(one), vocabulary).length === 0);
  return form ? ` Unicode writes this text in two ways; the model knows the other one (${form}).` : '';
};

/** The distinct characters of a text that are not in a vocabulary (a Set). */
export const absent = (text, vocabulary) => [...new Set(text)].filter((character) => !vocabulary.has(character));

const tooLong = (text, most) => {
  const { length } = [...text];
  return length > most ? `This is ${length} characters; the model takes at most ${most}.` : '';
};

/** A sentence on the characters of a text that are not in a vocabulary; '' if there are none. */
const notAmong = (text, vocabulary) => {
  const missing = absent(text, vocabulary);
  if (!missing.length) return '';
  const each = missing.slice(0, 5).map((c) => `${named(c)} (${codePoint(c)})`);
  return `${each.join(', ')}${missing.length > 5 ? ', …' : ''}: not among the ${vocabulary.size.toLocaleString('en')} characters this model was trained on.${normalHint(text, vocabulary)}`;
};

const integer = (text, highest) => /^\d+$/.test(text) && Number(text) <= highest;

/** What is wrong with the fields (strings, by name): messages by name, none for those that are good. */
export const problems = (fields, { vocabulary, unknown_id, limits }) => {
  const found = {};
  const prefix = tooLong(fields.prefix, limits.max_prefix) || (unknown_id === null ? notAmong(fields.prefix, vocabulary) : '');
  if (!fields.prefix) found.prefix = 'Give one character or more.';
  else if (prefix) found.prefix = prefix;
  const generated = unknown_id === null ? vocabulary : new Set([...vocabulary].filter((c) => c !== '\ufffd'));
  const stop = tooLong(fields.stop, limits.max_length) || notAmong(fields.stop, generated);
  if (stop) found.stop = stop;
  if (!integer(fields.length, limits.max_length)) found.length = `Give a whole number from 0 to ${limits.max_length}.`;
  const temperature = Number(fields.temperature);
  if (fields.temperature === '' || !(temperature >= 0 && temperature < 3.4e38)) found.temperature = 'Give 0 (greedy) or more, below 3.4e38.';
  if (!integer(fields.top_k, 2 ** 31 - 1)) found.top_k = 'Give a whole number, 0 (off) or more.';
  const topP = Number(fields.top_p);
  if (!(topP > 0 && topP <= 1)) found.top_p = 'Give a number above 0, at most 1 (off).';
  if (!integer(fields.seed, Number.MAX_SAFE_INTEGER)) found.seed = `Give a whole number from 0 to ${Number.MAX_SAFE_INTEGER}.`;
  return found;
};

/** The inputs of the signature `generate` from the fields. */
export const request = ({ prefix, stop, ...fields }) => ({ prefix, ...Object.fromEntries(NUMBERS.map((k) => [k, Number(fields[k])])), stop });

/** The field that a server's message is about, if it names one. */
export const fieldOf = (message) => /^(prefix|length|temperature|top_k|top_p|stop|seed) /.exec(message)?.[1];

/** A text as one word of a POSIX shell. */
export const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

/** The command that asks the signature `generate` for the same text. */
export const curl = (url, inputs) => {
  const body = JSON.stringify({ signature_name: 'generate', instances: [inputs] });
  return `curl ${quoted(`${url}:predict`)} \\\n  -H 'Content-Type: application/json' \\\n  -d ${quoted(body)}`;
};

/** The language to choose glyphs for, from what a model was trained on. */
export const language = (characters) => {
  if (/[\u3041-\u30ff]/.test(characters)) return 'ja';
  if (/[\uac00-\ud7a3]/.test(characters)) return 'ko';
  return /\p{Script=Han}/u.test(characters) ? 'zh-Hans' : '';
};

/** Splits a stream's text into server-sent events: give it pieces, get `{ event, data }` of each that is whole. */
export const eventReader = () => {
  let rest = '';
  return (piece) => {
    const blocks = (rest + piece).split('\n\n');
    rest = blocks.pop();
    return blocks.map((block) => {
      const fields = Object.fromEntries(block.split('\n').map((line) => line.split(/: ?(.*)/s).slice(0, 2)));
      return { event: fields.event ?? 'message', data: JSON.parse(fields.data) };
    });
  };
};
