// The page: its fields, its buttons, and one task at a time.

import * as logic from './logic.js';
import { LANGUAGES, languageOf, speaker } from './messages.js';
import * as paper from './paper.js';
import * as samples from './samples.js';
import * as server from './server.js';
import * as writing from './writing.js';

const CANDIDATES = 8;
const SAMPLES = 3;
const FIELDS = ['prefix', ...logic.KNOBS];
const $ = (id) => document.getElementById(id);
const form = Object.fromEntries(FIELDS.map((name) => [name, $(name === 'prefix' ? 'text' : name)]));

let language = 'en';
let say = speaker(language);
let languageGiven = false; // by the address or by the switch
let notice = () => status(say('loading')); // what the status says in a new language
let listed = ''; // what studio/model.json said last
let models = []; // those in studio/model.json, each with its vocabulary as a Set
let visit = writing.opened({ pieces: [] });
let task = null; // the AbortController of the newest task, until it ends
let ended = Promise.resolve(); // resolves when the previous task has ended

const model = () => models[$('model').selectedIndex];
const modelName = () => `${model().label} ${model().version}`;
const modelUrl = () => new URL(model().path, document.baseURI).href;
const text = () => writing.current(visit);
const values = () => Object.fromEntries(logic.KNOBS.map((name) => [name, form[name].value]));
const fields = (from = text()) => ({ prefix: logic.tail(writing.whole(from), model().limits.max_prefix), ...values() });
const currentRequest = (from) => ({ model: modelName(), url: modelUrl(), inputs: logic.request(fields(from)) });
const number = (value) => value.toLocaleString(language);

// ---- Messages

const status = (message, failed = false) => {
  $('status').textContent = message;
  $('status').classList.toggle('failed', failed);
};

const showProblem = (name, message) => {
  const error = $(`${form[name].id}-error`);
  error.textContent = message ?? '';
  error.hidden = !message;
  if (message) form[name].setAttribute('aria-invalid', 'true');
  else form[name].removeAttribute('aria-invalid');
};

/** Shows the errors of all fields and returns the first invalid one. An empty text is an error only of a task. */
const check = (from, asked) => {
  const found = logic.problems(fields(from), model(), say);
  if (!asked && !text().pieces.length) delete found.prefix;
  for (const name of FIELDS) showProblem(name, found[name]);
  return FIELDS.find((name) => found[name]);
};

const focusField = (name) => (name === 'prefix' ? paper.focus() : form[name].focus());

const invalid = (name) => {
  focusField(name);
  return new server.Failure('invalid-field');
};

/** What went wrong, in a sentence. */
const explained = (error) => {
  if (error instanceof TypeError) return say('no-answer'); // of fetch
  return error instanceof server.Failure && error.key !== 'refused' ? say(error.key, error.values) : error.message;
};

const fail = (error) => {
  const field = error.key === 'refused' && logic.fieldOf(error.message);
  if (!field) return status(explained(error), true);
  showProblem(field, error.message);
  focusField(field);
  status(say('refused-field', { label: form[field].labels[0].textContent }), true);
};

// ---- The model

const describe = ({ version, vocabulary, perplexity, config, corpus }) => {
  const parts = [say('version', { version })];
  if (config) parts.push(say('units', { cell: config.cell.toUpperCase(), size: config.hidden_size }));
  if (corpus) parts.push(say('trained', { corpus: corpus.name }));
  parts.push(say('vocabulary', { size: vocabulary.size }));
  const part = ['valid', 'train'].find((one) => perplexity?.[one]);
  if (part) parts.push(say(`perplexity-${part}`, { perplexity: perplexity[part].toFixed(2) }));
  return parts.join('\u00a0· ');
};

const showModel = () => {
  const { limits, vocabulary, unknown_id, characters } = model();
  $('about').textContent = describe(model());
  form.length.max = limits.max_length;
  $('length-hint').textContent = say('length-hint', { most: limits.max_length });
  $('text-hint').textContent = say('text-hint', { size: vocabulary.size, strict: unknown_id === null });
  for (const element of [$('shades'), form.prefix]) element.lang = logic.language(characters);
};

/** Asks which models the server has. They may have changed since the page was opened. */
const loadModels = async (signal) => {
  const answer = await server.list(signal);
  if (answer === listed) return;
  const found = JSON.parse(answer).models;
  if (!found.length) throw new server.Failure('no-model');
  listed = answer;
  const label = model()?.label;
  models = found.map((one) => ({ ...one, characters: one.vocabulary, vocabulary: new Set(one.vocabulary) }));
  $('model').replaceChildren(...models.map((one) => new Option(one.label, one.label, false, one.label === label)));
  $('model').disabled = models.length < 2;
  showModel();
};

/** Shows the selected model: its example, unless it can read the text that the user wrote. */
const changeModel = async () => {
  const isExample = models.some(({ example }) => example === writing.whole(text()));
  const isOwn = !isExample && !logic.problems(fields(), model(), say).prefix;
  showModel();
  if (isOwn) showText();
  else commit(writing.fresh(model().example));
  writeAddress();
  return '';
};

// ---- The text

const showFigures = (shown, seconds) => {
  const known = shown.filter((one) => one.log_probability !== undefined);
  const nats = known.reduce((sum, { log_probability }) => sum - log_probability, 0);
  $('count').textContent = known.length ? number(known.length) : '–';
  $('speed').textContent = known.length && seconds ? number(Math.round(known.length / seconds)) : '–';
  $('perplexity').textContent = known.length ? Math.exp(nats / known.length).toFixed(2) : '–';
};

/** Shows the current text, its figures, and which buttons work. */
const showText = (caret) => {
  const shown = writing.seenBy(text(), modelName());
  paper.show(shown, caret);
  $('detail').textContent = say('detail-hint');
  hideCandidates();
  showFigures(shown.pieces.slice(shown.start ?? 0));
  onFields();
};

/** Makes a text the current one. */
const commit = (next) => {
  visit = writing.pushed(visit, next);
  showText(next.pieces.length);
  writeAddress();
};

const onFields = () => {
  check(text(), false);
  const greedy = form.temperature.value !== '' && Number(form.temperature.value) === 0;
  $('greedy').hidden = $('greedy-note').hidden = !greedy;
  const { pieces } = text();
  const most = model().limits.max_prefix;
  $('text-count').textContent = say(pieces.length > most ? 'text-count-long' : 'text-count', { count: pieces.length, most });
  enableButtons();
};

const onTyped = () => {
  stop(); // the search for candidates in the previous text
  visit = writing.typed(visit, writing.edited(writing.seenBy(text(), modelName()), form.prefix.value));
  showText();
};

const goBack = (steps) =>
  run(async () => {
    visit = writing.moved(visit, steps);
    showText(text().pieces.length);
    writeAddress();
    return '';
  });

// ---- The address

const readAddress = () => {
  const given = new URLSearchParams(location.hash.slice(1));
  const asked = models.findIndex((one) => one.label === given.get('model'));
  if (asked >= 0) $('model').selectedIndex = asked;
  const defaults = { length: `${Math.min(model().default_length, model().limits.max_length)}`, ...logic.DEFAULTS };
  for (const name of logic.KNOBS) form[name].value = given.get(name) ?? defaults[name];
  return given.get('prefix');
};

const readLanguage = () => {
  const given = new URLSearchParams(location.hash.slice(1)).get('lang');
  languageGiven = given !== null;
  speak(languageOf(given, navigator.languages));
};

const writeAddress = () => {
  const state = new URLSearchParams({
    ...(languageGiven && { lang: language }),
    ...(models.length > 1 && { model: model().label }),
    prefix: writing.whole(writing.beginning(text())),
    ...values(),
  });
  history.replaceState(null, '', `#${state}`);
};

// ---- Tasks

/** Disables or enables buttons, by id. A disabled button would drop the focus to the page's top: its neighbour gets it. */
const setDisabled = (buttons) => {
  const { id } = document.activeElement;
  for (const [button, disabled] of Object.entries(buttons)) $(button).disabled = disabled;
  if (buttons[id]) $({ undo: 'redo', redo: 'undo' }[id] ?? 'generate').focus();
};

const enableButtons = () => {
  const greedy = !$('greedy').hidden;
  setDisabled({
    generate: false,
    another: greedy,
    three: greedy,
    read: false,
    undo: visit.at === 0,
    redo: visit.at === visit.texts.length - 1,
  });
};

/** `locks`: whether the text may not be edited until the task ends. */
const setTask = (controller, locks) => {
  task = controller;
  setDisabled({ 'stop-generating': !controller });
  form.prefix.readOnly = locks;
  for (const element of [$('shades'), form.prefix]) element.setAttribute('aria-busy', locks);
  $('shades').classList.toggle('running', locks);
};

const stop = () => task?.abort();

/** Runs a task, `(signal) -> message`, when the previous task has ended; says what went wrong. */
const run = (work, locks = true) => {
  stop();
  const controller = new AbortController();
  setTask(controller, locks);
  ended = ended.then(() => perform(work, controller, locks));
};

const perform = async (work, controller, locks) => {
  if (controller !== task) return;
  keepFocus($('samples'));
  samples.close();
  try {
    const message = await work(controller.signal);
    if (controller === task) status(message);
  } catch (error) {
    if (!controller.signal.aborted) fail(error);
    else if (controller === task) status(locks ? say(error.count === undefined ? 'ended' : 'stopped', error) : '');
  } finally {
    if (controller === task) setTask(null, false);
  }
};

/** Checks the fields against the models that the server has now; returns the request that continues `from()`. */
const requestFrom = async (from, signal) => {
  status(say('waiting'));
  await loadModels(signal);
  const wrong = check(from(), true);
  if (wrong) throw invalid(wrong);
  writeAddress();
  return currentRequest(from());
};

/** Streams a continuation of `from()` and makes it the current text, also if it is stopped. */
const generate = (from) => async (signal) => {
  const request = await requestFrom(from, signal);
  const base = writing.seenBy(from(), request.model);
  const added = [];
  const start = performance.now();
  paper.show(base, base.pieces.length);
  try {
    await server.stream(request.url, request.inputs, signal, (some) => {
      status(say('generating'));
      added.push(...some);
      paper.append(some);
      showFigures(added, (performance.now() - start) / 1000);
    });
  } catch (error) {
    if (signal.aborted) error.count = added.length;
    throw error;
  } finally {
    finish(base, added, request, (performance.now() - start) / 1000);
  }
  return say('done', { count: added.length });
};

const finish = (base, added, request, seconds) => {
  if (added.length) visit = writing.pushed(visit, writing.continued(base, added, request));
  showText(text().pieces.length);
  writeAddress();
  if (added.length) showFigures(added, seconds);
};

const randomSeed = () => `${crypto.getRandomValues(new Uint32Array(1))[0]}`;

const newSeed = () => {
  form.seed.value = randomSeed();
  onFields();
  writeAddress();
};

const another = () => {
  if ($('another').disabled) return;
  form.seed.value = randomSeed();
  run(generate(() => writing.beginning(text())));
};

const generateThree = async (signal) => {
  const from = () => writing.beginning(text());
  const request = await requestFrom(from, signal);
  const base = writing.seenBy(from(), request.model);
  const found = Array.from({ length: SAMPLES }, () => {
    const inputs = { ...request.inputs, seed: Number(randomSeed()) };
    return { request: { ...request, inputs }, added: [] };
  });
  hideCandidates();
  paper.show(base, base.pieces.length);
  const columns = samples.open(SAMPLES, { say, lang: form.prefix.lang, choose: (n) => run(async () => choose(base, found, n)), leave });
  await Promise.all(found.map((one, n) => streamSample(one, columns[n], signal)));
  samples.focus();
  return say('choose-one');
};

const streamSample = async ({ request, added }, column, signal) => {
  try {
    await server.stream(request.url, request.inputs, signal, (some) => {
      status(say('generating'));
      added.push(...some);
      column.append(some);
    });
  } catch (error) {
    if (!signal.aborted) column.fail(explained(error));
  }
  if (added.length) column.enable();
};

/** Closes the samples and the candidates, and keeps the text. */
const leave = () =>
  run(async () => {
    showText();
    paper.focus();
    return '';
  });

/** Makes a sample the current text. Undo brings back the other samples, too. */
const choose = (base, found, chosen) => {
  paper.focus();
  const others = found.filter(({ added }, n) => n !== chosen && added.length);
  form.seed.value = `${found[chosen].request.inputs.seed}`;
  for (const { added, request } of [...others, found[chosen]]) commit(writing.continued(base, added, request));
  return say('done', { count: found[chosen].added.length });
};

const read = async (signal) => {
  status(say('waiting'));
  await loadModels(signal);
  const { vocabulary, unknown_id, limits } = model();
  const characters = text().pieces.map((one) => one.text);
  const problem = characters.length < 2 ? say('give-two-characters') : unknown_id === null && logic.notAmong(characters.join(''), vocabulary, say);
  if (problem) {
    showProblem('prefix', problem);
    throw invalid('prefix');
  }
  status(say('reading-text'));
  const found = [];
  for (const { from, to, read: first } of logic.windows(characters.length, limits)) {
    const scores = await server.score(modelUrl(), characters.slice(from, to).join(''), signal);
    found.push(...scores.slice(first - from - 1));
  }
  visit = writing.replaced(visit, writing.read(text(), found, modelName()));
  showText();
  showFigures(text().pieces);
  return say('done-reading', { count: found.length });
};

// ---- Candidates

/** Moves the focus to the text from an element that is about to be hidden. */
const keepFocus = (hidden) => {
  if (hidden.contains(document.activeElement)) paper.focus();
};

const hideCandidates = () => {
  keepFocus($('candidates'));
  $('candidates').hidden = true;
  $('candidates').replaceChildren();
};

const candidateButton = (index, { text: character, log_probability }) => {
  const button = document.createElement('button');
  button.type = 'button';
  const percent = logic.percent(log_probability);
  button.className = `level-${logic.level(Math.exp(log_probability))}`;
  button.lang = form.prefix.lang;
  button.setAttribute('aria-label', say('candidate-label', { name: logic.named(character, say), percent }));
  const shown = document.createElement('span');
  shown.textContent = /[\p{C}\p{Z}\p{M}]/u.test(character) ? logic.named(character, say) : character;
  const small = document.createElement('small');
  small.textContent = percent;
  button.append(shown, small);
  button.addEventListener('click', () => branch(index, { text: character, log_probability }));
  return button;
};

/** Shows buttons for the likely characters at `index` of the text. */
const showCandidates = (index, focus) =>
  run(async (signal) => {
    if (index === 0) return say('first-character');
    const before = logic.tail(writing.whole(writing.cut(text(), index)), model().limits.max_prefix);
    const found = await server.candidates(modelUrl(), before, CANDIDATES, signal);
    paper.inspect(index);
    const label = document.createElement('span');
    label.textContent = say('expected', { number: index + 1 });
    $('candidates').replaceChildren(label, ...found.map((one) => candidateButton(index, one)));
    $('candidates').hidden = false;
    if (focus) $('candidates').querySelector('button').focus();
    return '';
  }, false);

/** Continues from a candidate. Undo brings back the previous text. */
const branch = (index, piece) => {
  const before = writing.cut(writing.seenBy(text(), modelName()), index);
  const base = { ...before, pieces: [...before.pieces, piece], model: modelName() };
  paper.focus();
  run(generate(() => base));
};

// ---- Copying

/** Copies a text; returns whether it could. A page that is neither https nor localhost has no clipboard. */
const copy = async (copied, what) => {
  try {
    await navigator.clipboard.writeText(copied);
    status(say('copied', { what }));
    return true;
  } catch {
    return false;
  }
};

/** Copies the command for the last continuation, or for the one that the fields ask for. */
const copyCurl = async () => {
  const { request } = text();
  if (!request && check(text(), true)) return status(say('invalid-field'), true);
  const { url, inputs } = request ?? currentRequest(text());
  $('curl').value = logic.curl(url, inputs);
  $('command').hidden = false;
  if (await copy($('curl').value, 'command')) return;
  $('curl').select();
  status(say('select-curl'));
};

const copyText = async () => {
  if (await copy(writing.whole(text()), 'text')) return;
  paper.select();
  status(say('select-text'));
};

// ---- What the user does

/** Returns what a key does; undefined: the browser handles it. */
const actionOf = ({ key, ctrlKey, metaKey, shiftKey, altKey, target }) => {
  const command = ctrlKey || metaKey;
  const undoesHere = !target.matches('input, #stop');
  if (command && key === 'Enter') return shiftKey ? another : () => run(generate(text));
  if (command && undoesHere && key.toLowerCase() === 'z') return () => goBack(shiftKey ? 1 : -1);
  if (command && undoesHere && key.toLowerCase() === 'y') return () => goBack(1);
  if (altKey && key === 'ArrowDown' && target.matches('#text, #shades')) return () => showCandidates(paper.place(), true);
  if (key === 'Escape') return task ? stop : leave;
  return undefined;
};

const onKey = (event) => {
  const action = event.isComposing ? undefined : actionOf(event);
  if (!action) return;
  event.preventDefault();
  action();
};

const onPaperClick = ({ clientX, clientY }) => {
  const index = paper.indexAt(clientX, clientY);
  if (index !== undefined && !task && getSelection().isCollapsed) showCandidates(index, false);
};

const listenToButtons = () => {
  const actions = {
    another,
    three: () => run(generateThree),
    read: () => run(read),
    undo: () => goBack(-1),
    redo: () => goBack(1),
    'stop-generating': stop,
    dice: newSeed,
    'copy-curl': copyCurl,
    'copy-text': copyText,
  };
  for (const [id, action] of Object.entries(actions)) $(id).addEventListener('click', action);
};

const listen = () => {
  paper.listen();
  listenToButtons();
  $('form').addEventListener('submit', (event) => {
    event.preventDefault();
    run(generate(text));
  });
  form.prefix.addEventListener('input', onTyped);
  form.prefix.addEventListener('beforeinput', (event) => {
    const steps = { historyUndo: -1, historyRedo: 1 }[event.inputType];
    if (!steps) return;
    event.preventDefault();
    goBack(steps);
  });
  $('form').addEventListener('input', ({ target }) => target !== form.prefix && onFields());
  $('form').addEventListener('change', ({ target }) => Object.values(form).includes(target) && writeAddress());
  document.addEventListener('keydown', onKey);
  $('shades').parentElement.addEventListener('click', onPaperClick);
  $('numbers').addEventListener('change', () => paper.showNumbers($('numbers').checked));
  $('model').addEventListener('change', () => run(changeModel));
  addEventListener('hashchange', () => {
    run(async () => {
      readLanguage();
      const prefix = readAddress();
      showModel();
      commit(writing.fresh(prefix ?? model().example));
      return '';
    });
  });
};

// ---- Languages

const speak = (chosen) => {
  language = chosen;
  say = speaker(language);
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll('[data-say]')) element.textContent = say(element.dataset.say);
  for (const element of document.querySelectorAll('[data-label]')) element.setAttribute('aria-label', say(element.dataset.label));
  const other = Object.keys(LANGUAGES).find((one) => one !== language);
  $('language').textContent = LANGUAGES[other];
  $('language').lang = other;
  paper.speak(say);
};

const switchLanguage = () => {
  languageGiven = true;
  speak($('language').lang);
  notice();
  if (!models.length) return;
  showModel();
  showText();
  writeAddress();
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
  if (!/Mac|iP(hone|ad)/.test(navigator.platform)) return;
  for (const key of document.querySelectorAll('kbd')) key.textContent = key.textContent.replace('Ctrl', '⌘').replace('Shift', '⇧');
};

const start = async () => {
  readLanguage();
  showLegend();
  $('language').addEventListener('click', switchLanguage);
  notice();
  try {
    await loadModels();
  } catch (error) {
    notice = () => status(error.key === 'no-model' ? say('no-model') : say('no-list', { reason: explained(error) }), true);
    return notice();
  }
  const prefix = readAddress();
  showModel();
  visit = writing.opened(writing.fresh(prefix ?? model().example));
  showText(text().pieces.length);
  if (prefix === null) form.prefix.select(); // so that typing replaces it
  notice = () => status('');
  notice();
  listen();
};

start();
