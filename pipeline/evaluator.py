"""Evaluates models, and baselines that count characters beside them, on a text."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from data.errors import InputError
from pipeline.dataset import EncodedText
from pipeline.dynamic_evaluation import RATES, DynamicScorer
from pipeline.evaluation import Evaluation
from pipeline.evaluation_constants import Constants
from pipeline.kneser_ney import KneserNey
from pipeline.mixture import fit_weights, mixed
from pipeline.model import CharRNN
from pipeline.ngram_cache import adapted
from pipeline.ngrams import numbered
from pipeline.perplexity import mean, uniform_nats, unigram_nats
from pipeline.run_directory import RunRecord
from pipeline.scorer import Scorer

_LONGEST_NGRAM = 7  # characters, of the Kneser-Ney baselines
_NEW = 5  # characters: text is new where this many, the last of them predicted, were not read before


@dataclasses.dataclass(frozen=True)
class Methods:
    """What to evaluate beside the models of the runs."""

    baselines: bool = False
    """n-gram models of the training part."""
    cache: bool = False
    """Each model with a cache of what it has read."""
    dynamic: bool = False
    """The models of the runs with dynamic evaluation."""
    novelty: bool = False
    """How much of what the first model generates is copied from the training part."""


_NONE = Methods()


class _Evaluator:
    """Computes the losses of the models of runs, and of the methods beside them, on texts."""

    def __init__(self, models: Sequence[CharRNN], record: RunRecord, training: np.ndarray | None, methods: Methods):
        """`record` is that of the runs; `training`, `[N] int32`: for n-gram models; None: without them."""
        jit = record.config.training.jit
        named = {'model' if n == 1 else f'model_{n}': model for n, model in enumerate(models, 1)}
        self._static = {name: Scorer(model, jit=jit) for name, model in named.items()}
        adapting = named if methods.dynamic else {}
        self._dynamic = {name: DynamicScorer(model, jit=jit) for name, model in adapting.items()}
        self._size = len(record.vocabulary)
        self._cache = methods.cache
        self._ngram_models = {} if training is None else _ngram_models(training, self._size)

    def losses(self, text: EncodedText, rate: float | None) -> dict[str, np.ndarray]:
        """Returns the losses of the targets of `text`, `[K]` each, by name; `rate` is for dynamic evaluation."""
        found = {name: scorer.losses(text) for name, scorer in self._static.items()}
        if rate is not None:
            found |= {f'{name}_dynamic': scorer.losses(text, rate) for name, scorer in self._dynamic.items()}
        for order, ngram_model in self._ngram_models.items():
            found[f'kneser_ney_{order}'] = -ngram_model.log_probabilities(np.asarray(text.ids))[-text.num_targets :]
        if self._cache:
            found |= {f'{name}_cache': _with_cache(text, own, self._size) for name, own in found.items()}
        return found

    def best_rate(self, text: EncodedText) -> float:
        """Returns the learning rate of dynamic evaluation that suits the first model on `text`."""
        return min(RATES, key=lambda rate: mean(self._dynamic['model'].losses(text, rate)))


def evaluate(
    models: Sequence[CharRNN],
    record: RunRecord,
    text: EncodedText,
    *,
    methods: Methods = _NONE,
    training: np.ndarray | None = None,
    valid: EncodedText | None = None,
    constants: Constants | None = None,
) -> Evaluation:
    """Evaluates models, and baselines beside them, on `text`.

    Args:
      models: of the runs, with their weights.
      record: of the runs; their vocabularies are the same.
      text: the text.
      methods: what else to evaluate.
      training: `[N] int32`, the training part, for the baselines; None: without them.
      valid: another text, which chooses the constants; None: the text itself chooses the learning rate of dynamic
        evaluation, and there are no mixtures.
      constants: those that another evaluation chose.

    Raises:
      InputError: `constants` are of an evaluation with other methods or more runs.
    """
    size = len(record.vocabulary)
    evaluator = _Evaluator(models, record, training, methods)
    chosen_here = constants is None and methods.dynamic and valid is None
    if constants and methods.dynamic and constants.dynamic_rate is None:
        raise InputError(
            'the constants are of an evaluation without --dynamic, which this one has: leave it out, or evaluate the '
            'run of --constants_of with it.'
        )
    if constants is None:
        several = len(models) > 1 or training is not None or methods.cache or methods.dynamic
        constants = _choose(evaluator, methods.dynamic, valid or text, with_weights=several and valid is not None)
    losses = evaluator.losses(text, constants.dynamic_rate if methods.dynamic else None)
    losses |= _mixtures(losses, constants)
    nats = {name: mean(found) for name, found in losses.items()}
    nats |= {'unigram': unigram_nats(text.targets, np.array(record.counts)), 'uniform': uniform_nats(size)}
    counts = text.num_characters, text.num_targets, text.unknown_rate
    evaluation = Evaluation(*counts, nats, constants=constants, chosen_here=chosen_here)
    if training is None:
        return evaluation
    new = _is_new(training, text, size)
    new_nats = {name: mean(found[new]) for name, found in losses.items()} if new.any() else {}
    return dataclasses.replace(evaluation, num_new=int(new.sum()), new_nats=new_nats)


def _ngram_models(training: np.ndarray, vocabulary_size: int) -> dict[int, KneserNey]:
    ngrams = list(numbered(training, vocabulary_size, min(_LONGEST_NGRAM, len(training))))
    return {order: KneserNey(ngrams[: order + 1], vocabulary_size) for order in range(1, len(ngrams))}


def _choose(evaluator: _Evaluator, dynamic: bool, text: EncodedText, *, with_weights: bool) -> Constants:
    """Returns the constants that suit `text`: of two mixtures, one of all static models and one of all models."""
    rate = evaluator.best_rate(text) if dynamic else None
    if not with_weights:
        return Constants(rate)
    losses = evaluator.losses(text, rate)
    static = [name for name in losses if not name.endswith(('_cache', '_dynamic'))]
    mixtures = {'mixture': static} if len(static) > 1 else {}
    if len(losses) > len(static):
        mixtures['mixture_adaptive'] = list(losses)
    return Constants(rate, {mixture: _weights(losses, names) for mixture, names in mixtures.items()})


def _weights(losses: dict[str, np.ndarray], names: list[str]) -> dict[str, float]:
    fitted = fit_weights(np.array([-losses[name] for name in names]))
    return dict(zip(names, fitted.tolist(), strict=True))


def _mixtures(losses: dict[str, np.ndarray], constants: Constants) -> dict[str, np.ndarray]:
    """Returns the losses of the mixtures, by name. Raises `InputError` if a model is missing."""
    found = {}
    for mixture, weights in constants.weights.items():
        if missing := sorted(weights.keys() - losses.keys()):
            raise InputError(
                f'the constants are of an evaluation with {", ".join(missing)}, which this one lacks: give the '
                f'same number of --run_dir, and the same of --baselines, --cache and --dynamic.'
            )
        parts = np.array([-losses[name] for name in weights])
        found[mixture] = -mixed(parts, np.array(list(weights.values())))
    return found


def _with_cache(text: EncodedText, losses: np.ndarray, vocabulary_size: int) -> np.ndarray:
    """Returns the losses of a model with a cache, which begins with the context of the text."""
    log_p = np.concatenate([np.zeros(len(text.ids) - len(losses)), -losses])
    return -adapted(np.asarray(text.ids), log_p, vocabulary_size)[-len(losses) :]


def _is_new(training: np.ndarray, text: EncodedText, vocabulary_size: int) -> np.ndarray:
    """Returns for each target of `text` whether the 5-gram that ends with it is read for the first time, `[K] bool`."""
    *_, ngrams = numbered(np.concatenate([training, np.asarray(text.ids)]), vocabulary_size, _NEW)
    positions = np.arange(len(ngrams.before))
    return (ngrams.first[ngrams.before] == positions)[-text.num_targets :]
