// The page: its fields, what it asks the server, and one stream at a time.

import * as logic from './logic.js';
import * as text from './text.js';

const NO_MODEL =
  'No model that can stream is served. Export one (python -m export.saved_model), then load this page again.';
const FIELDS = ['prefix', ...logic.KNOBS];
const $ = (id) => document.getElementById(id);
const form = Object.fromEntries(FIELDS.map((name) => [name, $(name)]));

let listed = ''; // what studio/model.json said last
let models = []; // as studio/model.json has them, each with its vocabulary as a Set
let shown = null; // the model that the page shows
let running = null; // the AbortController of the stream

const model = () => models[$('model').selectedIndex];
const fields = () => Object.fromEntries(FIELDS.map((name) => [name, form[name].value]));
const modelUrl = () => new URL(model().path, document.baseURI).href;

// ---- Messages

const say = (message, failed = false) => {
  $('status').textContent = message;
  $('status').classList.toggle('failed', failed);
};

const showProblem = (name, message) => {
  const error = $(`${name}-error`);
  error.textContent = message ?? '';
  error.hidden = !message;
  if (message) form[name].setAttribute('aria-invalid', 'true');
  else form[name].removeAttribute('aria-invalid');
};

/** Shows the errors of all fields and returns the first invalid one. An empty prefix is an error only on Generate. */
const check = (asked) => {
  const found = logic.problems(fields(), model());
  if (!asked && form.prefix.value === '') delete found.prefix;
  for (const name of FIELDS) showProblem(name, found[name]);
  return FIELDS.find((name) => found[name]);
};

const fail = (message) => {
  const field = logic.fieldOf(message);
  if (field) {
    showProblem(field, message);
    form[field].focus();
  }
  say(field ? `The model refuses this ${field}.` : message, true);
};

// ---- The model

const describe = ({ version, vocabulary, perplexity, config, corpus }) => {
  const parts = [`version ${version}`];
  if (config) parts.push(`${config.cell.toUpperCase()} of ${config.hidden_size} units`);
  if (corpus) parts.push(`trained on ${corpus.name}`);
  parts.push(`${vocabulary.size.toLocaleString('en')} characters`);
  if (perplexity?.valid) parts.push(`perplexity ${perplexity.valid.toFixed(2)} on held-out text`);
  else if (perplexity?.train) parts.push(`perplexity ${perplexity.train.toFixed(2)} in training`);
  return parts.join('\u00a0· ');
};

const showModel = () => {
  shown = model();
  const { limits, vocabulary, unknown_id, characters } = model();
  $('about').textContent = describe(model());
  form.length.max = limits.max_length;
  $('length-hint').textContent = `To add, 0 to ${limits.max_length.toLocaleString('en')}.`;
  const others = unknown_id === null ? 'others are refused' : 'it reads others as unknown';
  $('prefix-hint').textContent = `What the text begins with, in the model’s ${vocabulary.size.toLocaleString('en')} characters; ${others}.`;
  for (const element of [$('text'), form.prefix]) element.lang = logic.language(characters);
};

/** Learns what the server serves now. A new version may have taken over since the page was opened. */
const loadModels = async (signal) => {
  const response = await fetch('studio/model.json', { signal });
  if (!response.ok) throw new Error(`The list of models answered HTTP ${response.status}.`);
  const answer = await response.text();
  if (answer === listed) return;
  listed = answer;
  const label = model()?.label;
  models = JSON.parse(answer).models.map((one) => ({ ...one, characters: one.vocabulary, vocabulary: new Set(one.vocabulary) }));
  $('model').replaceChildren(...models.map((one) => new Option(one.label, one.label, false, one.label === label)));
  $('model').disabled = models.length < 2;
  if (models.length) showModel();
};

// ---- The address

const readAddress = () => {
  const given = new URLSearchParams(location.hash.slice(1));
  const asked = models.findIndex((one) => one.label === given.get('model'));
  if (asked >= 0) $('model').selectedIndex = asked;
  const defaults = { prefix: form.prefix.value || model().example, length: `${Math.min(model().default_length, model().limits.max_length)}`, ...logic.DEFAULTS };
  for (const name of FIELDS) form[name].value = given.get(name) ?? defaults[name];
};

/** Empties the page of the text of the last model. */
const clearText = () => {
  stop();
  text.clear();
  $('copy-text').disabled = true;
  say('');
};

/** Shows the selected model: its example, unless it can read the prefix that the user wrote. */
const changeModel = () => {
  const isOwn = form.prefix.value !== shown.example && !logic.problems(fields(), model()).prefix;
  if (!isOwn) form.prefix.value = model().example;
  clearText();
  showModel();
  onInput();
  writeAddress();
};

const writeAddress = () => {
  const state = new URLSearchParams({ ...(models.length > 1 && { model: model().label }), ...fields() });
  history.replaceState(null, '', `#${state}`);
};

// ---- A run

const setRunning = (controller) => {
  running = controller;
  const stopsFocused = document.activeElement === $('stop-generating');
  $('stop-generating').disabled = !controller;
  if (!controller && stopsFocused) $('generate').focus(); // a disabled button would drop it to the page's top
  $('text').classList.toggle('running', Boolean(controller));
  $('text').setAttribute('aria-busy', Boolean(controller));
};

const CUT_OFF = 'The text is cut off: the connection to the server broke.';

/** Reads the next piece of a stream. Throws an Error if the connection breaks; a TypeError is then fetch's own. */
const nextPiece = async (reader, signal) => {
  try {
    return await reader.read();
  } catch (error) {
    throw signal.aborted ? error : new Error(CUT_OFF);
  }
};

const readStream = async (body, signal, onCharacters) => {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  const events = logic.eventReader();
  for (;;) {
    const { done, value } = await nextPiece(reader, signal);
    if (done) throw new Error(CUT_OFF);
    const found = events(value);
    onCharacters(found.filter(({ event }) => event === 'message').map(({ data }) => data));
    const last = found.find(({ event }) => event !== 'message');
    if (last?.event === 'error') throw new Error(last.data.error);
    if (last?.event === 'done') return;
  }
};

const errorOf = async (response) => {
  const answer = await response.text();
  try {
    return JSON.parse(answer).error;
  } catch {
    return `The server answered HTTP ${response.status}. ${answer.slice(0, 200)}`;
  }
};

const stream = async (inputs, controller) => {
  const start = performance.now();
  const response = await fetch(`${modelUrl()}:generate_stream`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(inputs),
    signal: controller.signal,
  });
  if (!response.ok) return fail(await errorOf(response));
  text.start(inputs.prefix);
  $('copy-text').disabled = false;
  await readStream(response.body, controller.signal, (some) => {
    if (controller !== running) return;
    text.append(some);
    text.showFigures((performance.now() - start) / 1000);
  });
  say(`Done: ${text.count()} characters.`);
};

const stop = () => running?.abort();

const checkAndStream = async (controller) => {
  await loadModels(controller.signal);
  if (!models.length) throw new Error(NO_MODEL);
  const wrong = check(true);
  if (wrong) {
    form[wrong].focus();
    return say('Nothing was generated: a field needs another value.', true);
  }
  writeAddress();
  await stream(logic.request(fields()), controller);
};

const generate = async () => {
  stop();
  const controller = new AbortController();
  setRunning(controller);
  say('Generating…');
  try {
    await checkAndStream(controller);
  } catch (error) {
    if (controller !== running) return;
    if (controller.signal.aborted) say(`Stopped after ${text.count()} characters.`);
    else fail(error instanceof TypeError ? 'The server does not answer. Is it running?' : error.message);
  } finally {
    if (controller === running) setRunning(null);
  }
};

// ---- Copying

/** Copies a text, or says how to: a page that is neither https nor localhost has no clipboard. */
const copy = async (copied, what) => {
  try {
    await navigator.clipboard.writeText(copied);
    say(`${what} copied.`);
    return true;
  } catch {
    return false;
  }
};

const copyCurl = async () => {
  if (!model() || check(true)) return say('A field needs another value first.', true);
  $('curl').value = logic.curl(modelUrl(), logic.request(fields()));
  $('command').hidden = false;
  if (await copy($('curl').value, 'The command is')) return;
  $('curl').select();
  say('The command is selected below: copy it with your browser.');
};

const copyText = async () => {
  if (await copy(text.whole(), 'The text is')) return;
  getSelection().selectAllChildren($('text'));
  say('The text is selected: copy it with your browser.');
};

// ---- What the user does

const onInput = () => {
  if (!model()) return;
  check(false);
  const greedy = form.temperature.value !== '' && Number(form.temperature.value) === 0;
  $('greedy').hidden = $('greedy-note').hidden = !greedy;
  const length = [...form.prefix.value].length;
  $('prefix-count').textContent = `${length} of at most ${model().limits.max_prefix.toLocaleString('en')} characters`;
};

const onKey = (event) => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    generate();
  } else if (event.key === 'Escape') {
    stop();
  }
};

const listen = () => {
  text.listen();
  $('form').addEventListener('submit', (event) => {
    event.preventDefault();
    generate();
  });
  $('form').addEventListener('input', onInput);
  $('form').addEventListener('change', (event) => FIELDS.includes(event.target.id) && writeAddress());
  document.addEventListener('keydown', onKey);
  $('stop-generating').addEventListener('click', stop);
  $('dice').addEventListener('click', () => {
    form.seed.value = crypto.getRandomValues(new Uint32Array(1))[0];
    onInput();
    writeAddress();
  });
  $('model').addEventListener('change', changeModel);
  $('copy-curl').addEventListener('click', copyCurl);
  $('copy-text').addEventListener('click', copyText);
  addEventListener('hashchange', () => {
    readAddress();
    if (model().label !== shown.label) clearText();
    showModel();
    onInput();
  });
};

const showLegend = () => {
  $('legend').replaceChildren(
    ...logic.levelNames().map((name, n) => {
      const item = document.createElement('li');
      item.className = `level-${n}`;
      item.textContent = name;
      return item;
    }),
  );
  if (/Mac|iP(hone|ad)/.test(navigator.platform)) $('generate-key').textContent = '⌘ Enter';
};

const start = async () => {
  showLegend();
  try {
    await loadModels();
  } catch (error) {
    return say(`The server does not answer (${error.message}). Load this page again when it does.`, true);
  }
  if (!models.length) return say(NO_MODEL, true);
  readAddress();
  if (form.prefix.value === model().example) form.prefix.select(); // so that typing takes its place
  showModel();
  onInput();
  listen();
  $('generate').disabled = false;
};

start();
