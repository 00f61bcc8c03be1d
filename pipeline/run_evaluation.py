"""Evaluates runs on their held-out parts or on other texts."""

import dataclasses
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from data import corpus
from data.errors import InputError
from data.ids import Ids
from data.split import Parts
from data.stored_text import StoredText
from data.vocabulary import Vocabulary
from pipeline import devices, evaluation_constants, novelty, run_directory
from pipeline.checkpoints import load_model
from pipeline.config import DataConfig
from pipeline.dataset import EncodedText, Texts
from pipeline.evaluation import Evaluation
from pipeline.evaluation_constants import Constants
from pipeline.evaluator import Methods, evaluate
from pipeline.model import CharRNN
from pipeline.run_directory import RunRecord


def evaluate_runs(
    run_dirs: Sequence[pathlib.Path],
    which: str | None,
    part: str | None,
    text_settings: dict[str, Any],
    methods: Methods,
    constants_of: pathlib.Path | None = None,
) -> tuple[list[pathlib.Path], str, Evaluation]:
    """Evaluates checkpoints of runs on a text.

    Args:
      run_dirs: the runs; all have the same corpus, the same parts of it and the same vocabulary.
      which: one of `config.CHECKPOINTS`; None: the best if a run has one, else the latest.
      part: one of `config.PARTS`, a held-out part of the runs; None: test if the runs have one, else valid.
      text_settings: fields of `DataConfig` that name another text; line breaks are read as in training unless it has
        `newlines`. Empty: the held-out part.
      methods: what else to evaluate.
      constants_of: the first run of another evaluation, whose constants to use; None: the validation part chooses
        them, and they are kept beside the first run.

    Returns:
      The paths of the checkpoints, the name of the text and its evaluation.

    Raises:
      InputError: a run, a checkpoint or the text cannot be read, or the runs cannot be evaluated together.
    """
    records = [run_directory.read(run_dir) for run_dir in run_dirs]
    _check_alike(run_dirs, records)
    constants = evaluation_constants.read(constants_of) if constants_of else None
    run_dir, record = run_dirs[0], records[0]
    needs_parts = not text_settings or methods.baselines or methods.novelty or methods.dynamic or len(run_dirs) > 1
    parts = _parts(run_dir, record) if needs_parts else None
    valid = None
    if parts is None or text_settings:
        data = DataConfig(**{'newlines': record.config.data.newlines} | text_settings)
        name = data.corpus
        text = EncodedText.of(corpus.load(data).text, record.vocabulary, name)
    else:
        data = record.config.data
        part = part or ('test' if data.has('test') else 'valid')
        name = getattr(data, f'{part}_corpus') or f'the {part} part of {data.corpus}'
        text = held_out_part(run_dir, record, part, parts)
    if parts and parts.valid and part != 'valid':
        valid = held_out_part(run_dir, record, 'valid', parts)
    training = _ids(parts.training, record.vocabulary) if parts and methods.baselines else None
    devices.prepare()
    models = [CharRNN(one.config.model, len(one.vocabulary)) for one in records]
    checkpoints = [load_model(one, model, which) for one, model in zip(run_dirs, models, strict=True)]
    found = evaluate(models, record, text, methods=methods, training=training, valid=valid, constants=constants)
    if not constants and valid and found.constants != Constants():
        _keep(run_dir, found.constants, checkpoints)
    if parts and methods.novelty:
        (prefix, *_) = (*record.config.training.prefixes, str(parts.training[:1]))
        copies = novelty.measure(models[0], record.vocabulary, prefix, str(parts.training))
        found = dataclasses.replace(found, novelty=copies)
    return checkpoints, name, found


def _keep(run_dir: pathlib.Path, constants: Constants, checkpoints: list[pathlib.Path]) -> None:
    try:
        evaluation_constants.write(run_dir, constants, checkpoints)
    except OSError as error:
        print(f'warning: the constants of the evaluation cannot be kept: {error}', file=sys.stderr)


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


def held_out_part(run_dir: pathlib.Path, record: RunRecord, part: str, parts: Parts) -> EncodedText:
    """Returns one of `config.PARTS` of the corpus of a run, whose parts are `parts`, after the text that precedes it.

    Raises:
      InputError: the run does not have this part, or it is too short.
    """
    if not record.config.data.has(part):
        raise InputError(
            f'run_dir {str(run_dir)!r} has no {part} part: {part}_fraction=0. Evaluate on another text with --corpus, '
            f'or train with --{part}_fraction=0.1 or --{part}_corpus.'
        )
    before = [parts.training, parts.valid] if part == 'test' else [parts.training]
    return EncodedText.of(getattr(parts, part), record.vocabulary, f'the {part} part', before)


def _ids(text: StoredText, vocabulary: Vocabulary) -> np.ndarray:
    """Returns the ids of a text, `[N] int32`, in memory."""
    return np.asarray(Ids.of_text(text, vocabulary.table(text.header.characters)))


def _parts(run_dir: pathlib.Path, record: RunRecord) -> Parts:
    """Returns the parts of the corpus of a run. Raises `InputError` if it has changed since."""
    texts = Texts.load(record.config.data)
    run_directory.check_same(run_dir, record, record.config, texts.sha256)
    return texts.parts
