// Limits, probabilities, and the curl command: pure functions that do not use the page. `say` is a speaker of messages.js.

const NUMBERS = ['length', 'temperature', 'top_k', 'top_p', 'seed'];
export const KNOBS = [...NUMBERS, 'stop'];
export const DEFAULTS = { temperature: '0.8', top_k: '0', top_p: '1', seed: '1', stop: '' };

const LOWEST = [0.9, 0.5, 0.2, 0.05, 0.01]; // the lowest probability of each level except the last

/** The level of shade of a probability, from 0 (none) for likely characters to 5. */
export const level = (probability) => {
  const found = LOWEST.findIndex((lowest) => probability >= lowest);
  return found < 0 ? LOWEST.length : found;
};

/** The names of the levels in the legend, in order. */
export const levelNames = () => [...LOWEST.map((p) => `≥ ${p * 100}%`), `< ${LOWEST.at(-1) * 100}%`];

/** Digits after the point of a percentage, so that it differs from 0 and from 100 if possible. */
const digits = (value) => (value >= 99.9 || value < 0.1 ? 2 : value >= 99 || value < 10 ? 1 : 0);

/** The percentage of a log probability, in at most six characters. */
export const percent = (logProbability) => {
  const value = Math.exp(logProbability) * 100;
  if (value >= 99.995) return '>99.99%';
  return value < 0.005 ? '<0.01%' : `${value.toFixed(digits(value))}%`;
};

/** The probability of a log probability, with enough digits to tell it from 1. */
export const probability = (logProbability) => {
  const p = Math.exp(logProbability);
  if (p < 0.99) return `${Number(p.toPrecision(3))}`;
  const others = Number((-Math.expm1(logProbability)).toPrecision(2));
  return others < 1e-7 ? '> 0.9999999' : `${Number((1 - others).toFixed(9))}`;
};

/** The surprise of a log probability in nats. */
export const nats = (logProbability) => (logProbability > -0.01 ? `${Number((-logProbability).toPrecision(2))}` : (-logProbability).toFixed(2));

/** The code point of a character, such as 'U+5427'. */
export const codePoint = (character) => `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, '0')}`;

/** The name of a character in a sentence: the character in quotes, or, if it is invisible, its name or kind. */
export const named = (character, say) => {
  const name = say(codePoint(character));
  if (name) return name;
  if (/\p{M}/u.test(character)) return say('combining-mark', { character });
  return /[\p{C}\p{Z}]/u.test(character) ? say('invisible-character') : say('quoted', { character });
};

/** The last characters of a text, at most `most`. */
export const tail = (text, most) => [...text].slice(-most).join('');

/** The distinct characters of a text that are not in a vocabulary (a Set). */
export const absent = (text, vocabulary) => [...new Set(text)].filter((character) => !vocabulary.has(character));

/** A sentence for a text that the model could read in another normal form of Unicode; else ''. */
const otherForm = (text, vocabulary, say) => {
  const form = ['NFC', 'NFD'].find((one) => absent(text.normalize(one), vocabulary).length === 0);
  return form ? say('other-form', { form }) : '';
};

/** A sentence on the characters of a text that are not in a vocabulary; '' if there are none. */
export const notAmong = (text, vocabulary, say) => {
  const missing = absent(text, vocabulary);
  if (!missing.length) return '';
  const each = missing.slice(0, 5).map((c) => `${named(c, say)} (${codePoint(c)})`);
  const names = `${each.join(', ')}${missing.length > 5 ? ', …' : ''}`;
  return say('not-among', { names, size: vocabulary.size }) + otherForm(text, vocabulary, say);
};

const tooLong = (text, most, say) => {
  const { length } = [...text];
  return length > most ? say('too-long', { length, most }) : '';
};

const integer = (text, highest) => /^\d+$/.test(text) && Number(text) <= highest;

/** The errors of the fields (strings, by name): messages by name. A valid field has none. */
export const problems = (fields, { vocabulary, unknown_id, limits }, say) => {
  const found = {};
  const prefix = unknown_id === null ? notAmong(fields.prefix, vocabulary, say) : '';
  if (!fields.prefix) found.prefix = say('give-character');
  else if (prefix) found.prefix = prefix;
  const generated = unknown_id === null ? vocabulary : new Set([...vocabulary].filter((c) => c !== '\ufffd'));
  const stop = tooLong(fields.stop, limits.max_length, say) || notAmong(fields.stop, generated, say);
  if (stop) found.stop = stop;
  if (!integer(fields.length, limits.max_length)) found.length = say('give-integer', { highest: limits.max_length });
  const temperature = Number(fields.temperature);
  if (fields.temperature === '' || !(temperature >= 0 && temperature < 3.4e38)) found.temperature = say('give-temperature');
  if (!integer(fields.top_k, 2 ** 31 - 1)) found.top_k = say('give-top_k');
  const topP = Number(fields.top_p);
  if (!(topP > 0 && topP <= 1)) found.top_p = say('give-top_p');
  if (!integer(fields.seed, Number.MAX_SAFE_INTEGER)) found.seed = say('give-integer', { highest: Number.MAX_SAFE_INTEGER });
  return found;
};

/** The inputs of the signature `generate` from the fields. */
export const request = ({ prefix, stop, ...fields }) => ({ prefix, ...Object.fromEntries(NUMBERS.map((k) => [k, Number(fields[k])])), stop });

/** The name of the field at the start of a server's message; undefined if there is none. */
export const fieldOf = (message) => /^(prefix|length|temperature|top_k|top_p|stop|seed) /.exec(message)?.[1];

/** Divides a text of any length into windows `{ from, to, read }` of at most `max_prefix + max_length` characters.
 *  Characters before `read` are context: at most `max_prefix`, the longest that the model gets when it generates. */
export const windows = (length, { max_prefix, max_length }) => {
  const found = [];
  for (let read = 1; read < length; read = found.at(-1).to) {
    const from = Math.max(0, read - max_prefix);
    found.push({ from, to: Math.min(length, from + max_prefix + max_length), read });
  }
  return found;
};

/** A text as one word of a POSIX shell. */
export const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

/** The command that sends inputs to the signature `generate`. */
export const curl = (url, inputs) => {
  const body = JSON.stringify({ signature_name: 'generate', instances: [inputs] });
  return `curl ${quoted(`${url}:predict`)} \\\n  -H 'Content-Type: application/json' \\\n  -d ${quoted(body)}`;
};

/** The language whose glyphs suit the characters of a model. */
export const language = (characters) => {
  if (/[\u3041-\u30ff]/.test(characters)) return 'ja';
  if (/[\uac00-\ud7a3]/.test(characters)) return 'ko';
  return /\p{Script=Han}/u.test(characters) ? 'zh-Hans' : '';
};
