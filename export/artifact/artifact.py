"""The exported object: a model with its signatures."""

import functools
import inspect

import tensorflow as tf

from data.vocabulary import Vocabulary
from export.artifact.sample_settings import SampleSettings
from pipeline import checks, scoring
from pipeline.generate import SIGNATURE, Generator
from pipeline.limits import Limits
from pipeline.model import CharRNN

_PREFIX_AND_SEED = (SIGNATURE[0], SIGNATURE[-1])

# The graph is written with TensorFlow's own conditions and loops: to look for Python's takes half of the export's time.
_traced = functools.partial(tf.function, autograph=False)


class Artifact(tf.Module):
    """A model with its signatures, and for each signature a function that only checks a request.

    `check_<signature>` takes the inputs of the signature. It returns the number of rows (scalar int32), or raises the
    error that the signature would raise. A server calls it to keep bad rows out of shared batches.
    """

    def __init__(
        self, model: CharRNN, vocabulary: Vocabulary, default_length: int, limits: Limits, settings: SampleSettings
    ):
        """`default_length` is the number of characters that `serving_default` adds; `settings` are of `sample`."""
        super().__init__()
        self.model = model
        self.vocabulary = vocabulary
        self.default_length = default_length
        self.limits = limits
        self.settings = settings
        self._generator = Generator(model, vocabulary, limits)
        self._likelihood = scoring.TextLikelihood(model, vocabulary, limits)
        state = [tf.TensorSpec([None, part.shape[1]], tf.float32) for part in model.zero_state(1)]
        self.state_names = tuple(f'state_{n}' for n in range(len(state)))
        specs = [tf.TensorSpec([None], tf.int32, 'ids')]
        specs += [tf.TensorSpec(s.shape, s.dtype, name) for s, name in zip(state, self.state_names, strict=True)]
        self.step = _named_inputs(self._step, specs)
        self.check_step = _named_inputs(self._check_step, specs)

    @property
    def signatures(self) -> dict[str, tf.types.experimental.PolymorphicFunction]:
        """The signatures by name."""
        return {name: getattr(self, name) for name in ('serving_default', 'sample', 'generate', 'score', 'step')}

    @_traced(input_signature=SIGNATURE)
    def generate(self, prefix, length, temperature, top_k, top_p, stop, seed):
        """Continues each prefix with the parameters of its row; see `Generator`."""
        return _generated(self._generator(prefix, length, temperature, top_k, top_p, stop, seed))

    @_traced(input_signature=SIGNATURE)
    def check_generate(self, prefix, length, temperature, top_k, top_p, stop, seed):
        return _rows(self._generator.checked(prefix, length, temperature, top_k, top_p, stop, seed).length)

    @_traced(input_signature=_PREFIX_AND_SEED)
    def sample(self, prefix, seed):
        """Continues each prefix with the settings of the artifact."""
        settings = _filled(self.settings, prefix)
        known = {'sampled': self.settings.sample_temperature > 0, 'with_stop': bool(self.settings.sample_stop)}
        return _generated(self._generator(prefix, **settings, seed=seed, **known))

    @_traced(input_signature=_PREFIX_AND_SEED)
    def check_sample(self, prefix, seed):
        return _rows(self._generator.checked(prefix, **_filled(self.settings, prefix), seed=seed).length)

    @_traced(input_signature=SIGNATURE[:1])
    def serving_default(self, prefix):
        """Continues each prefix greedily."""
        return {'text': self._generator(prefix, **self._default_knobs(prefix), sampled=False, with_stop=False)[0]}

    @_traced(input_signature=SIGNATURE[:1])
    def check_serving_default(self, prefix):
        return _rows(self._generator.checked(prefix, **self._default_knobs(prefix)).length)

    @_traced(input_signature=scoring.SIGNATURE)
    def score(self, text):
        """Returns the likelihood of each text; see `TextLikelihood`."""
        log_likelihood, count, log_probabilities = self._likelihood(text)
        return {
            'log_likelihood': log_likelihood,
            'num_characters': count,
            'perplexity': tf.exp(-log_likelihood / tf.cast(count, tf.float32)),
            'log_probabilities': log_probabilities,
        }

    @_traced(input_signature=scoring.SIGNATURE)
    def check_score(self, text):
        return _rows(self._likelihood.checked(text)[0])

    def _default_knobs(self, prefix: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the inputs of `generate` after the prefix, for greedy generation."""
        greedy = SampleSettings(self.default_length, sample_temperature=0.0, sample_top_p=1.0)
        return _filled(greedy, prefix) | {'seed': tf.zeros(tf.shape(prefix), tf.int64)}

    def _step(self, ids: tf.Tensor, *state: tf.Tensor) -> dict[str, tf.Tensor]:
        """Reads one character per row: `ids [N]` and a state (zeros at first) -> `logits [N, V]` and the next state."""
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


def _generated(found: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
    text, log_likelihood = found
    return {'text': text, 'log_likelihood': log_likelihood}


def _filled(settings: SampleSettings, prefix: tf.Tensor) -> dict[str, tf.Tensor]:
    """Returns the inputs of `generate` between the prefix and the seed, the same in each row of `prefix`."""
    return {
        spec.name: tf.fill(tf.shape(prefix), tf.constant(getattr(settings, f'sample_{spec.name}'), spec.dtype))
        for spec in SIGNATURE[1:-1]
    }


def _rows(values: tf.Tensor) -> tf.Tensor:
    return tf.shape(values)[0]


def _named_inputs(function, specs: list[tf.TensorSpec]) -> tf.types.experimental.PolymorphicFunction:
    """Returns `function(*inputs)` as a tf.function whose inputs have the names of `specs`."""

    def named(*inputs):
        return function(*inputs)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(spec.name, kind) for spec in specs]
    named.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # `inspect` and tf.function read it
    return tf.function(named, input_signature=specs, autograph=False)
