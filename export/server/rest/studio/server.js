// Requests to the server. Each function throws a Failure, or the error of `fetch` if the server does not answer or the
// request is aborted.

/** An error: a key of messages.js and its values, or the server's message. */
export class Failure extends Error {
  constructor(key, values) {
    super(values?.message ?? key);
    this.key = key;
    this.values = values;
  }
}

const post = async (url, body, signal) => {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
    signal,
  });
  if (!response.ok) throw await failureOf(response);
  return response;
};

const failureOf = async (response) => {
  const answer = await response.text();
  try {
    return new Failure('refused', { message: JSON.parse(answer).error });
  } catch {
    return new Failure('http-error', { status: response.status, answer: answer.slice(0, 200) });
  }
};

/** The list of models, as text. */
export const list = async (signal) => {
  const response = await fetch('studio/model.json', { signal });
  if (!response.ok) throw await failureOf(response);
  return response.text();
};

/** The log probabilities of all characters of a text except the first. */
export const score = async (url, text, signal) => {
  const response = await post(`${url}:predict`, { signature_name: 'score', instances: [{ text }] }, signal);
  return (await response.json()).predictions[0].log_probabilities;
};

/** Returns a function that takes the next piece of a stream and returns `{ event, data }` of each complete event. */
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

/** Reads the next piece of a stream; a connection that breaks is a Failure. */
const nextPiece = async (reader, signal) => {
  try {
    return await reader.read();
  } catch (error) {
    throw signal.aborted ? error : new Failure('cut-off');
  }
};

/** Streams a continuation: `onCharacters` gets lists of `{ text, log_probability, candidates }`, one for each character. */
export const stream = async (url, inputs, signal, onCharacters) => {
  const response = await post(`${url}:generate_stream`, inputs, signal);
  onCharacters([]); // the server has accepted the request
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  const events = eventReader();
  for (;;) {
    const { done, value } = await nextPiece(reader, signal);
    if (done) throw new Failure('cut-off');
    const found = events(value);
    onCharacters(found.filter(({ event }) => event === 'message').map(({ data }) => data));
    const last = found.find(({ event }) => event !== 'message');
    if (last?.event === 'error') throw new Failure('refused', { message: last.data.error });
    if (last?.event === 'done') return;
  }
};

/** The most likely next characters after a text, `{ text, log_probability }`, the most likely first. */
export const candidates = async (url, prefix, count, signal) => {
  let found = [];
  await stream(url, { prefix, length: 1, candidates: count }, signal, ([first]) => {
    found = first?.candidates ?? found;
  });
  return found;
};
