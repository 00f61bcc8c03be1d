"""Evaluates models, and baselines that count characters beside them, on a text."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from pipeline.dataset import EncodedText
from pipeline.dynamic_evaluation import RATES, DynamicScorer
from pipeline.evaluation import Evaluation
from pipeline.kneser_ney import KneserNey
from pipeline.mixture import fit_weights, mixed
from pipeline.model import CharRNN
from pipeline.ngram_cache import adapted
from pipeline.ngrams import numbered
from pipeline.perplexity import mean, uniform_nats, unigram_nats
from pipeline.run_directory import RunRecord
from pipeline.scorer import Scorer

_LONGEST_NGRAM = 7  # characters, of the Kneser-Ney baselines
_NEW = 5  # characters: text is new where so many, the last of them predicted, were not read before


@dataclasses.dataclass(frozen=True)
class Methods:
    """What to evaluate beside the models of the runs."""

    baselines: bool = False
    """n-gram models of the training part."""
    cache: bool = False
    """Each model with a cache of what it has read."""
    dynamic: bool = False
    """The models of the runs with dynamic evaluation."""
    dynamic_rate: float | None = None
    """Its learning rate; None: the one of `dynamic_evaluation.RATES` that suits the validation part."""
    novelty: bool = False
    """How much of what the first model generates is copied from the training part."""


_NONE = Methods()


class _Evaluator:
    """Computes the losses of the models of runs, and of the methods beside them, on texts."""

    def __init__(self, models: Sequence[CharRNN], record: RunRecord, training: np.ndarray | None, cache: bool):
        """`record` is that of the runs; `training`, `[N] int32`: for n-gram models; None: without them."""
        self._models = {'model' if n == 1 else f'model_{n}': model for n, model in enumerate(models, 1)}
        self._jit = record.config.training.jit
        self._size = len(record.vocabulary)
        self._cache = cache
        self._ngram_models = {} if training is None else _ngram_models(training, self._size)

    def losses(self, text: EncodedText, rate: float | None) -> dict[str, np.ndarray]:
        """Returns the losses of the targets of `text`, `[K]` each, by name; `rate` is for dynamic evaluation."""
        found = {name: Scorer(model, jit=self._jit).losses(text) for name, model in self._models.items()}
        if rate is not None:
            found |= {f'{name}_dynamic': self.dynamic(model, text, rate) for name, model in self._models.items()}
        for order, ngram_model in self._ngram_models.items():
            found[f'kneser_ney_{order}'] = -ngram_model.log_probabilities(text.ids)[-len(text.targets) :]
        if self._cache:
            found |= {f'{name}_cache': _with_cache(text, own, self._size) for name, own in found.items()}
        return found

    def dynamic(self, model: CharRNN, text: EncodedText, rate: float) -> np.ndarray:
        return DynamicScorer(model, rate, jit=self._jit).losses(text)

    def best_rate(self, text: EncodedText) -> float:
        """Returns the learning rate of dynamic evaluation that suits the first model on `text`."""
        return min(RATES, key=lambda rate: mean(self.dynamic(self._models['model'], text, rate)))


def evaluate(
    models: Sequence[CharRNN],
    record: RunRecord,
    text: EncodedText,
    *,
    methods: Methods = _NONE,
    training: np.ndarray | None = None,
    valid: EncodedText | None = None,
) -> Evaluation:
    """Evaluates models, and baselines beside them, on `text`.

    Args:
      models: of the runs, with their weights.
      record: of the runs; their vocabularies are the same.
      text: the text.
      methods: what else to evaluate.
      training: `[N] int32`, the training part, for the baselines; None: without them.
      valid: another text, to choose the learning rate of dynamic evaluation and the weights of mixtures on; None: no
        mixtures.
    """
    size = len(record.vocabulary)
    evaluator = _Evaluator(models, record, training, methods.cache)
    rate, chosen_here = methods.dynamic_rate, False
    if methods.dynamic and rate is None:
        rate, chosen_here = evaluator.best_rate(text if valid is None else valid), valid is None
    losses = evaluator.losses(text, rate)
    if valid is not None and len(losses) > 1:
        losses |= _mixtures(evaluator.losses(valid, rate), losses)
    nats = {name: mean(found) for name, found in losses.items()}
    nats |= {'unigram': unigram_nats(text.targets, np.array(record.counts)), 'uniform': uniform_nats(size)}
    counts = text.num_characters, len(text.targets), text.unknown_rate
    evaluation = Evaluation(*counts, nats, dynamic_rate=rate, chosen_here=chosen_here)
    if training is None:
        return evaluation
    new = _is_new(training, text, size)
    new_nats = {name: mean(found[new]) for name, found in losses.items()} if new.any() else {}
    return dataclasses.replace(evaluation, num_new=int(new.sum()), new_nats=new_nats)


def _ngram_models(training: np.ndarray, vocabulary_size: int) -> dict[int, KneserNey]:
    ngrams = list(numbered(training, vocabulary_size, min(_LONGEST_NGRAM, len(training))))
    return {order: KneserNey(ngrams[: order + 1], vocabulary_size) for order in range(1, len(ngrams))}


def _mixtures(of_valid: dict[str, np.ndarray], losses: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the losses of two mixtures, whose weights suit the validation part: all static models, and all models."""
    static = [name for name in losses if not name.endswith(('_cache', '_dynamic'))]
    chosen = {'mixture': static, 'mixture_adaptive': list(losses)}
    found = {}
    for mixture, names in chosen.items():
        if len(names) > 1 and (mixture == 'mixture' or len(names) > len(static)):
            weights = fit_weights(np.array([-of_valid[name] for name in names]))
            found[mixture] = -mixed(np.array([-losses[name] for name in names]), weights)
    return found


def _with_cache(text: EncodedText, losses: np.ndarray, vocabulary_size: int) -> np.ndarray:
    """Returns the losses of a model with a cache, which begins with the context of the text."""
    log_p = np.concatenate([np.zeros(len(text.ids) - len(losses)), -losses])
    return -adapted(text.ids, log_p, vocabulary_size)[-len(losses) :]


def _is_new(training: np.ndarray, text: EncodedText, vocabulary_size: int) -> np.ndarray:
    """Returns for each target of `text` whether the 5-gram that ends with it is read for the first time, `[K] bool`."""
    *_, ngrams = numbered(np.concatenate([training, text.ids]), vocabulary_size, _NEW)
    positions = np.arange(len(ngrams.before))
    return (ngrams.first[ngrams.before] == positions)[-len(text.targets) :]
