"""Writes a trained run as a SavedModel that turns a prefix into text by itself.

The artifact needs nothing but TensorFlow's own runtime: vocabulary and loop are inside, text goes in and comes out.
Examples:

  python -m export.saved_model                                   (the newest run under runs/)
  python -m export.saved_model --run_dir=runs/mine --model_dir=models/mine
  python -m export.saved_model --run_dir=runs/mine --checkpoint=latest      (default: the best by held-out text, if any)
  python -m export.saved_model --max_length=200 --max_prefix=500            (the most that a request may ask for)
  python -m export.saved_model --keep_versions=3                            (and remove the versions before those)

Each export is a new version, <model_dir>/<integer>, as TensorFlow Serving expects. It appears whole or not at all, so
that a server may be watching. Beside the SavedModel it holds assets.extra/charrnn.json, which says what the model is,
and the requests that TensorFlow Serving warms up with.
"""

import inspect
import pathlib
import shutil
import sys
import tempfile

import tensorflow as tf
from absl import flags

from data.errors import InputError
from data.vocabulary import Vocabulary
from export import description, versions, warmup
from pipeline import checks, command_line, likelihood, program, run_directory
from pipeline.checkpoints import CHECKPOINTS, load_model
from pipeline.checks import Limits
from pipeline.generate import SIGNATURE, Generator
from pipeline.model import CharRNN

_FLAGS = flags.FLAGS
_DEFAULT_LIMITS = Limits()


class Artifact(tf.Module):
    """What is exported: a model behind its signatures, each with a function that only checks a request.

    `check_<signature>` takes what the signature takes, and returns the number of rows (scalar int32) where that would
    answer, or fails as that would fail: so that a server can keep a bad row out of a batch with others.
    """

    def __init__(self, model: CharRNN, vocabulary: Vocabulary, default_length: int, limits: Limits = _DEFAULT_LIMITS):
        """`serving_default` adds `default_length` characters, greedily."""
        super().__init__()
        self.model = model
        self.vocabulary = vocabulary
        self.default_length = default_length
        self.limits = limits
        self._generator = Generator(model, vocabulary, limits)
        self._likelihood = likelihood.TextLikelihood(model, vocabulary, limits)
        state = [tf.TensorSpec([None, part.shape[1]], tf.float32) for part in model.zero_state(1)]
        self.state_names = tuple(f'state_{n}' for n in range(len(state)))
        specs = [tf.TensorSpec([None], tf.int32, 'ids')]
        specs += [tf.TensorSpec(s.shape, s.dtype, name) for s, name in zip(state, self.state_names, strict=True)]
        self.step = _named_inputs(self._step, specs)
        self.check_step = _named_inputs(self._check_step, specs)

    @property
    def signatures(self) -> dict[str, tf.types.experimental.PolymorphicFunction]:
        """By name."""
        return {name: getattr(self, name) for name in ('serving_default', 'generate', 'score', 'step')}

    @tf.function(input_signature=SIGNATURE)
    def generate(self, prefix, length, temperature, top_k, top_p, seed):
        """All knobs, each per row; see `Generator`."""
        text, log_likelihood = self._generator(prefix, length, temperature, top_k, top_p, seed)
        return {'text': text, 'log_likelihood': log_likelihood}

    @tf.function(input_signature=SIGNATURE)
    def check_generate(self, prefix, length, temperature, top_k, top_p, seed):
        return _rows(self._generator.checked(prefix, length, temperature, top_k, top_p, seed)[0])

    @tf.function(input_signature=SIGNATURE[:1])
    def serving_default(self, prefix):
        """The most likely continuation of each prefix."""
        return {'text': self._generator(prefix, *self._default_knobs(prefix))[0]}

    @tf.function(input_signature=SIGNATURE[:1])
    def check_serving_default(self, prefix):
        return _rows(self._generator.checked(prefix, *self._default_knobs(prefix))[0])

    @tf.function(input_signature=likelihood.SIGNATURE)
    def score(self, text):
        """How likely each text is; see `TextLikelihood`."""
        log_likelihood, count = self._likelihood(text)
        perplexity = tf.exp(-log_likelihood / tf.cast(count, tf.float32))
        return {'log_likelihood': log_likelihood, 'num_characters': count, 'perplexity': perplexity}

    @tf.function(input_signature=likelihood.SIGNATURE)
    def check_score(self, text):
        return _rows(self._likelihood.checked(text)[0])

    def _default_knobs(self, prefix: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """`generate`'s inputs but the prefix: greedy, and nothing but that."""
        rows = tf.shape(prefix)
        return (
            tf.fill(rows, self.default_length),
            tf.zeros(rows, tf.float32),
            tf.zeros(rows, tf.int32),
            tf.ones(rows, tf.float32),
            tf.zeros(rows, tf.int64),
        )

    def _step(self, ids: tf.Tensor, *state: tf.Tensor) -> dict[str, tf.Tensor]:
        """One character of each row: `ids [N]` and the state after those before it, zeros at first -> the logits."""
        logits, state = self.model.step(self._checked_ids(ids, state), state)
        return {'logits': logits} | dict(zip(self.state_names, state, strict=True))

    def _check_step(self, ids: tf.Tensor, *state: tf.Tensor) -> tf.Tensor:
        return _rows(self._checked_ids(ids, state))

    def _checked_ids(self, ids: tf.Tensor, state: tuple[tf.Tensor, ...]) -> tf.Tensor:
        highest = len(self.vocabulary) - 1
        valid = (ids >= 0) & (ids <= highest)
        rows = checks.rows('ids', ids, **dict(zip(self.state_names, state, strict=True)))
        with tf.control_dependencies([*rows, checks.each('ids', ids, valid, f'be 0 to {highest}, a character')]):
            return tf.identity(ids)


def _rows(values: tf.Tensor) -> tf.Tensor:
    return tf.shape(values)[0]


def _named_inputs(function, specs: list[tf.TensorSpec]) -> tf.types.experimental.PolymorphicFunction:
    """`function(*inputs)` as one whose inputs have the names of `specs`, however many they are."""

    def named(*inputs):
        return function(*inputs)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    named.__signature__ = inspect.Signature([inspect.Parameter(spec.name, kind) for spec in specs])
    return tf.function(named, input_signature=specs)


def export(
    model: CharRNN,
    vocabulary: Vocabulary,
    model_dir: pathlib.Path,
    default_length: int,
    limits: Limits = _DEFAULT_LIMITS,
    source: description.Source | None = None,
) -> pathlib.Path:
    """Writes the next version under `model_dir` and returns its directory, which appears whole or not at all.

    Args:
      model: the weights.
      vocabulary: its characters.
      model_dir: where the versions are; made if need be.
      default_length: how many characters `serving_default` adds.
      limits: the most that a row may ask for.
      source: the run that the weights come from, if any.

    Raises:
      InputError: `default_length` is above the limit, or `model_dir` cannot be written.
    """
    if default_length > limits.max_length:
        raise InputError(
            f'sample_length={default_length} of the run is what serving_default adds, and above --max_length='
            f'{limits.max_length}: give a larger --max_length, or let the run go on with a smaller --sample_length.'
        )
    artifact = Artifact(model, vocabulary, default_length, limits)
    try:
        model_dir.mkdir(parents=True, exist_ok=True)
        aside = pathlib.Path(tempfile.mkdtemp(prefix='writing-', dir=model_dir))  # no number: no server takes it
        try:
            tf.saved_model.save(artifact, str(aside), artifact.signatures)
            description.write(aside, artifact, source)
            warmup.write(aside, artifact, model_dir.resolve().name, source.config.training.prefixes if source else ())
            aside.chmod(0o755)  # mkdtemp lets nobody else read, and a server is often somebody else
            return versions.add(aside, model_dir)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except (OSError, tf.errors.OpError) as error:
        raise InputError(
            f'model_dir {str(model_dir)!r} cannot be written: {str(error).splitlines()[0]}. Make room or use another '
            f'--model_dir.'
        ) from error


def main() -> None:
    limits = Limits(_FLAGS.max_length, _FLAGS.max_prefix)
    run_dir = pathlib.Path(_FLAGS.run_dir) if _FLAGS.run_dir else run_directory.latest_run_dir()
    model_dir = pathlib.Path(_FLAGS.model_dir)
    recorded = run_directory.read(run_dir)
    model = CharRNN(recorded.config.model, len(recorded.vocabulary))
    checkpoint = load_model(run_dir, model, _FLAGS.checkpoint)
    version_dir = export(
        model,
        recorded.vocabulary,
        model_dir,
        recorded.config.training.sample_length,
        limits,
        description.source(run_dir, recorded, checkpoint),
    )
    print(f'{checkpoint} -> {version_dir}')
    if not (version_dir / warmup.PATH).exists():
        print(f'no warm-up requests in it: {warmup.HOW_TO_HAVE_THEM}', file=sys.stderr)
    for removed in versions.remove_old(model_dir, _FLAGS.keep_versions):
        print(f'removed {removed}')
    length = min(50, limits.max_length)
    candidates = (*recorded.config.training.prefixes, *recorded.vocabulary.characters)
    prefix = command_line.list_item(next(filter(command_line.can_be_list_item, candidates), ''))
    print(f'Next: {command_line.command("export.generate", model_dir=model_dir, prefix=prefix, length=length)}')


if __name__ == '__main__':
    flags.DEFINE_string('run_dir', None, 'The run to export. Default: the newest under runs/.')
    flags.DEFINE_enum(
        'checkpoint',
        None,
        CHECKPOINTS,
        'The newest weights, or those of the lowest held-out perplexity. Default: the best if the run has kept one.',
    )
    flags.DEFINE_string('model_dir', 'models/charrnn', 'Where versions of the model are kept.')
    flags.DEFINE_integer('max_length', Limits.max_length, 'The most characters that a request may have added to a row.')
    flags.DEFINE_integer('max_prefix', Limits.max_prefix, 'The longest prefix that a request may have, characters.')
    flags.DEFINE_integer('keep_versions', 0, 'Remove all but so many of the newest versions; 0: keep all.', 0)
    program.run(main)
