"""Evaluation of a run on a text: the model, and baselines that count characters."""

import dataclasses
import math
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from data.corpus import text_sha256
from data.errors import InputError
from data.split import Parts, split
from pipeline import devices, novelty, run_directory
from pipeline.checkpoints import load_model
from pipeline.config import DataConfig
from pipeline.dataset import EncodedText, load_corpus
from pipeline.dynamic_evaluation import RATES, DynamicScorer
from pipeline.kneser_ney import KneserNey
from pipeline.mixture import fit_weights, mixed
from pipeline.model import CharRNN
from pipeline.ngram_cache import adapted
from pipeline.ngrams import numbered
from pipeline.perplexity import finite, mean, perplexity, uniform_nats, unigram_nats
from pipeline.run_directory import RunRecord
from pipeline.scorer import Scorer

_LONGEST_NGRAM = 7  # characters, of the Kneser-Ney baselines
_NEW = 5  # characters: text is new where so many, the last of them predicted, were not read before
_MOST_UNKNOWN = 0.25  # fraction of a text; above it the figures say little about that text


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Losses on one text, in nats per character, of the model and of the baselines, by name.

    `<name>_dynamic` is `<name>` with dynamic evaluation (`dynamic_evaluation`), `<name>_cache` with a cache of the
    n-grams that were read (`ngram_cache`). `mixture` has all models without these, `mixture_adaptive` all.
    """

    num_characters: int
    """Of the text, including unknown characters."""
    num_predicted: int
    """Characters that the losses are means over."""
    unknown_rate: float
    nats: dict[str, float]
    """`model`, `unigram`, `uniform`, ..."""
    num_new: int | None = None
    """Predicted characters of new text: the 5-grams that end with them occur neither in training nor earlier in the
    text. None: the training part was not read."""
    new_nats: dict[str, float] = dataclasses.field(default_factory=dict)
    """Losses on the new text alone."""
    dynamic_rate: float | None = None
    """The learning rate of dynamic evaluation."""
    novelty: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    """What `novelty.measure` found."""
    chosen_here: bool = False
    """Whether that rate was chosen on the text itself: then the figure is too good."""

    def to_dict(self) -> dict:
        """Returns the figures ready for JSON: a number that is not finite is None."""
        figures = {name: self._figures(name) for name in self.nats}
        counts = {name: getattr(self, name) for name in ('num_characters', 'num_predicted', 'unknown_rate')}
        counts |= {name: value for name in ('num_new', 'dynamic_rate') if (value := getattr(self, name)) is not None}
        novel = {'novelty': self.novelty} if self.novelty else {}
        return counts | figures.pop('model') | figures | novel

    def _figures(self, name: str) -> dict[str, float | None]:
        nats = self.nats[name]
        figures = {'perplexity': perplexity(nats), 'nats_per_character': nats, 'bits_per_character': nats / math.log(2)}
        if name in self.new_nats:
            figures['new_text_perplexity'] = perplexity(self.new_nats[name])
        return {key: finite(value) for key, value in figures.items()}


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
      training: `[N] int32`, the training part; only for the baselines.
      valid: another text, to choose the learning rate of dynamic evaluation and the weights of mixtures on; None: no
        mixtures.
    """
    size = len(record.vocabulary)
    evaluator = _Evaluator(models, record, training if methods.baselines else None, methods.cache)
    rate = evaluator.best_rate(text if valid is None else valid) if methods.dynamic else None
    losses = evaluator.losses(text, rate)
    if valid is not None and len(losses) > 1:
        losses |= _mixtures(evaluator.losses(valid, rate), losses)
    nats = {name: mean(found) for name, found in losses.items()}
    nats |= {'unigram': unigram_nats(text.targets, np.array(record.counts)), 'uniform': uniform_nats(size)}
    evaluation = Evaluation(text.num_characters, len(text.targets), text.unknown_rate, nats, dynamic_rate=rate)
    if rate is not None and valid is None:
        evaluation = dataclasses.replace(evaluation, chosen_here=True)
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


def evaluate_runs(
    run_dirs: Sequence[pathlib.Path],
    which: str | None,
    part: str | None,
    text_settings: dict[str, Any],
    methods: Methods = _NONE,
) -> tuple[list[pathlib.Path], str, Evaluation]:
    """Evaluates checkpoints of runs on a text.

    Args:
      run_dirs: the runs; all have the same corpus, the same parts of it and the same vocabulary.
      which: one of `config.CHECKPOINTS`; None: the best if a run has one, else the latest.
      part: one of `config.PARTS`, a held-out part of the runs; None: test if the runs have one, else valid.
      text_settings: fields of `DataConfig` that name another text; line breaks are read as in training unless it has
        `newlines`. Empty: the held-out part.
      methods: what else to evaluate.

    Returns:
      The paths of the checkpoints, the name of the text and its evaluation.

    Raises:
      InputError: a run, a checkpoint or the text cannot be read, or the runs cannot be evaluated together.
    """
    records = [run_directory.read(run_dir) for run_dir in run_dirs]
    _check_alike(run_dirs, records)
    run_dir, record = run_dirs[0], records[0]
    parts = None
    if not text_settings or methods.baselines or methods.novelty or len(run_dirs) > 1:
        parts = _parts(run_dir, record)
    valid = None
    if text_settings:
        data = DataConfig(**{'newlines': record.config.data.newlines} | text_settings)
        name = data.corpus
        text = EncodedText.from_text(load_corpus(data).text, record.vocabulary, name)
    else:
        part = part or ('test' if record.config.data.test_fraction else 'valid')
        name = f'the {part} part of {record.config.data.corpus}'
        text = held_out_part(run_dir, record, part)
    if parts and parts.valid and part != 'valid':
        valid = held_out_part(run_dir, record, 'valid')
    training = record.vocabulary.encode(parts.training) if parts and methods.baselines else None
    devices.prepare()
    models = [CharRNN(one.config.model, len(one.vocabulary)) for one in records]
    checkpoints = [load_model(one, model, which) for one, model in zip(run_dirs, models, strict=True)]
    found = evaluate(models, record, text, methods=methods, training=training, valid=valid)
    if parts and methods.novelty:
        (prefix, *_) = (*record.config.training.prefixes, parts.training[:1])
        copies = novelty.measure(models[0], record.vocabulary, prefix, parts.training)
        found = dataclasses.replace(found, novelty=copies)
    return checkpoints, name, found


def _check_alike(run_dirs: Sequence[pathlib.Path], records: Sequence[RunRecord]) -> None:
    """Raises `InputError` unless all runs have the same text, parts and vocabulary as the first."""
    for run_dir, record in zip(run_dirs[1:], records[1:], strict=True):
        for what, first, other in (
            ('corpus', records[0].corpus_sha256, record.corpus_sha256),
            ('valid_fraction', records[0].config.data.valid_fraction, record.config.data.valid_fraction),
            ('test_fraction', records[0].config.data.test_fraction, record.config.data.test_fraction),
            ('min_count', records[0].config.data.min_count, record.config.data.min_count),
        ):
            if first != other:
                raise InputError(
                    f'run_dir {str(run_dir)!r} cannot be mixed with {str(run_dirs[0])!r}: their {what} differs. Give '
                    f'runs on the same parts of the same text.'
                )


def held_out_part(run_dir: pathlib.Path, record: RunRecord, part: str) -> EncodedText:
    """Returns a held-out part of the corpus of a run, one of `config.PARTS`, after the text that precedes it.

    Raises:
      InputError: the run does not have this part, or its corpus has changed since.
    """
    if not getattr(record.config.data, f'{part}_fraction'):
        raise InputError(
            f'run_dir {str(run_dir)!r} has no {part} part: {part}_fraction=0. Evaluate on another text with --corpus, '
            f'or train with --{part}_fraction=0.1.'
        )
    parts = _parts(run_dir, record)
    before = parts.training + (parts.valid if part == 'test' else '')
    return EncodedText.from_text(getattr(parts, part), record.vocabulary, f'the {part} part', before)


def _parts(run_dir: pathlib.Path, record: RunRecord) -> Parts:
    """Returns the parts of the corpus of a run. Raises `InputError` if it has changed since."""
    data = record.config.data
    text = load_corpus(data).text
    run_directory.check_same(run_dir, record, record.config, text_sha256(text))
    return split(text, data.valid_fraction, data.test_fraction)


def report(evaluation: Evaluation) -> str:
    """Returns the figures as a table."""
    new = '' if evaluation.num_new is None else f', {evaluation.num_new:,} of new text'
    lines = [
        f'{evaluation.num_characters:,} characters, {evaluation.num_predicted:,} predicted{new}, '
        f'{evaluation.unknown_rate:.2%} unknown',
    ]
    width = 2 + max(map(len, evaluation.nats))
    if evaluation.dynamic_rate is not None:
        chosen = 'this very text: the figures are too good' if evaluation.chosen_here else 'the validation part'
        lines.append(f'learning rate of dynamic evaluation: {evaluation.dynamic_rate:g}, chosen on {chosen}')
    columns = f'{"":{width}}{"perplexity":>12}{"nats/char":>12}{"bits/char":>12}'
    lines.append(columns + (f'{"new text":>12}' if evaluation.new_nats else ''))
    for name, nats in evaluation.nats.items():
        line = f'{name:{width}}{perplexity(nats):12.2f}{nats:12.4f}{nats / math.log(2):12.4f}'
        of_new = evaluation.new_nats.get(name)
        lines.append(line if of_new is None else f'{line}{perplexity(of_new):12.2f}')
    if evaluation.unknown_rate > _MOST_UNKNOWN:
        lines.append(
            f'More than {_MOST_UNKNOWN:.0%} of this text is unknown to the model: the figures say little about it.'
        )
    if evaluation.novelty:
        lines.append(novelty.table(evaluation.novelty))
    return '\n'.join(lines)
