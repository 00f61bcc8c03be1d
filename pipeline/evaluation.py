"""Evaluation of a run on a text: the model, and baselines that count characters."""

import dataclasses
import math
import pathlib
from typing import Any

import numpy as np

from data.corpus import text_sha256
from data.errors import InputError
from data.split import Parts, split
from pipeline import devices, run_directory
from pipeline.checkpoints import load_model
from pipeline.config import DataConfig
from pipeline.dataset import EncodedText, load_corpus
from pipeline.kneser_ney import KneserNey
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

    `<name>_cache` is `<name>` with a cache of the n-grams that were read (`ngram_cache`).
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

    def to_dict(self) -> dict:
        """Returns the figures ready for JSON: a number that is not finite is None."""
        figures = {name: self._figures(name) for name in self.nats}
        counts = {name: getattr(self, name) for name in ('num_characters', 'num_predicted', 'unknown_rate')}
        if self.num_new is not None:
            counts['num_new'] = self.num_new
        return counts | figures.pop('model') | figures

    def _figures(self, name: str) -> dict[str, float | None]:
        nats = self.nats[name]
        figures = {'perplexity': perplexity(nats), 'nats_per_character': nats, 'bits_per_character': nats / math.log(2)}
        if name in self.new_nats:
            figures['new_text_perplexity'] = perplexity(self.new_nats[name])
        return {key: finite(value) for key, value in figures.items()}


def evaluate(
    model: CharRNN, record: RunRecord, text: EncodedText, training: np.ndarray | None = None, *, cache: bool = False
) -> Evaluation:
    """Evaluates `model` and the baselines on `text`.

    Args:
      model: the model of a run, with its weights.
      record: of the run.
      text: the text.
      training: `[N] int32`, the training part, for n-gram models of it; None: without them.
      cache: whether each model but the simplest two is evaluated with a cache, too.
    """
    size = len(record.vocabulary)
    losses = {'model': Scorer(model, jit=record.config.training.jit).losses(text).astype(np.float64)}
    if training is not None:
        losses |= _of_ngram_models(training, text, size)
    if cache:
        losses |= {f'{name}_cache': _with_cache(text, found, size) for name, found in losses.items()}
    nats = {name: mean(found) for name, found in losses.items()}
    nats |= {'unigram': unigram_nats(text.targets, np.array(record.counts)), 'uniform': uniform_nats(size)}
    evaluation = Evaluation(text.num_characters, len(text.targets), text.unknown_rate, nats)
    if training is None:
        return evaluation
    new = _is_new(training, text, size)
    new_nats = {name: mean(found[new]) for name, found in losses.items()} if new.any() else {}
    return dataclasses.replace(evaluation, num_new=int(new.sum()), new_nats=new_nats)


def _of_ngram_models(training: np.ndarray, text: EncodedText, vocabulary_size: int) -> dict[str, np.ndarray]:
    """Returns the losses of the targets of `text` under Kneser-Ney models of order 1, 2, ..., `[K]` each."""
    ngrams = list(numbered(training, vocabulary_size, min(_LONGEST_NGRAM, len(training))))
    models = {order: KneserNey(ngrams[: order + 1], vocabulary_size) for order in range(1, len(ngrams))}
    return {
        f'kneser_ney_{order}': -model.log_probabilities(text.ids)[-len(text.targets) :]
        for order, model in models.items()
    }


def _with_cache(text: EncodedText, losses: np.ndarray, vocabulary_size: int) -> np.ndarray:
    """Returns the losses of a model with a cache, which begins with the context of the text."""
    log_p = np.concatenate([np.zeros(len(text.ids) - len(losses)), -losses])
    return -adapted(text.ids, log_p, vocabulary_size)[-len(losses) :]


def _is_new(training: np.ndarray, text: EncodedText, vocabulary_size: int) -> np.ndarray:
    """Returns for each target of `text` whether the 5-gram that ends with it is read for the first time, `[K] bool`."""
    *_, ngrams = numbered(np.concatenate([training, text.ids]), vocabulary_size, _NEW)
    positions = np.arange(len(ngrams.before))
    return (ngrams.first[ngrams.before] == positions)[-len(text.targets) :]


def evaluate_run(
    run_dir: pathlib.Path,
    which: str | None,
    part: str | None,
    text_settings: dict[str, Any],
    *,
    baselines: bool = False,
    cache: bool = False,
) -> tuple[pathlib.Path, str, Evaluation]:
    """Evaluates a checkpoint of a run on a text.

    Args:
      run_dir: the run.
      which: one of `config.CHECKPOINTS`; None: the best if the run has one, else the latest.
      part: one of `config.PARTS`, a held-out part of the run; None: test if the run has one, else valid.
      text_settings: fields of `DataConfig` that name another text; line breaks are read as in training unless it has
        `newlines`. Empty: the held-out part.
      baselines: whether to evaluate n-gram models of the training part, too.
      cache: whether to evaluate each model with a cache, too.

    Returns:
      The path of the checkpoint, the name of the text and its evaluation.

    Raises:
      InputError: the run, the checkpoint or the text cannot be read.
    """
    record = run_directory.read(run_dir)
    if text_settings:
        data = DataConfig(**{'newlines': record.config.data.newlines} | text_settings)
        name = data.corpus
        text = EncodedText.from_text(load_corpus(data).text, record.vocabulary, name)
    else:
        part = part or ('test' if record.config.data.test_fraction else 'valid')
        name = f'the {part} part of {record.config.data.corpus}'
        text = held_out_part(run_dir, record, part)
    devices.prepare()
    model = CharRNN(record.config.model, len(record.vocabulary))
    checkpoint = load_model(run_dir, model, which)
    training = record.vocabulary.encode(_parts(run_dir, record).training) if baselines else None
    return checkpoint, name, evaluate(model, record, text, training, cache=cache)


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
    return '\n'.join(lines)
