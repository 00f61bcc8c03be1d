"""Says how well a trained run predicts a text: perplexity, nats and bits a character, beside two baselines.

Examples:

  python -m pipeline.evaluate --run_dir=runs/mine                            (the part that the run held out)
  python -m pipeline.evaluate --run_dir=runs/mine --corpus=another.txt
  python -m pipeline.evaluate --run_dir=runs/mine --checkpoint=latest --json

The text is read as one stream, and every character but the first is predicted once, from all that stand before it.
Uniform: all characters of the vocabulary are equally likely. Unigram: each is as likely as the training part has it.
A character that the vocabulary has not is read as unknown (U+FFFD) by a run with --min_count of 2 or more, and left out
by others; how many these are is shown, and perplexities of runs that differ in it should not be compared.
"""

import dataclasses
import math
import pathlib

import numpy as np
from absl import flags

from data import corpus
from data.errors import InputError
from data.split import split
from pipeline import devices, program, run_directory, scoring
from pipeline.checkpoints import CHECKPOINTS, load_model
from pipeline.config import DataConfig
from pipeline.model import CharRNN
from pipeline.run_directory import Recorded

_FLAGS = flags.FLAGS
_MOST_UNKNOWN = 0.25  # of a text whose perplexity is still one of that text


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Mean nats a character of one text, under the model and the baselines."""

    num_characters: int
    """Of the text, unknown ones too."""
    num_predicted: int
    """Those that the means are over."""
    unknown_rate: float
    nats: dict[str, float]
    """`{'model': …, 'unigram': …, 'uniform': …}`."""

    def to_dict(self) -> dict:
        """Ready for JSON: a number that is not finite is None."""
        figures = {
            name: {'perplexity': scoring.perplexity(n), 'nats_per_character': n, 'bits_per_character': n / math.log(2)}
            for name, n in self.nats.items()
        }
        finite = {
            name: {key: value if math.isfinite(value) else None for key, value in row.items()}
            for name, row in figures.items()
        }
        counts = {name: getattr(self, name) for name in ('num_characters', 'num_predicted', 'unknown_rate')}
        return counts | finite.pop('model') | finite


def evaluate(model: CharRNN, recorded: Recorded, text: str, name: str) -> Evaluation:
    """How well `model` predicts `text`. Raises `InputError`, with `name` for the text, where that is too short."""
    reading = scoring.read(text, recorded.vocabulary, name)
    nats = {
        'model': scoring.Scorer(model, jit=recorded.config.training.jit).nats(reading.ids),
        'unigram': scoring.unigram_nats(reading.ids, np.array(recorded.counts)),
        'uniform': scoring.uniform_nats(len(recorded.vocabulary)),
    }
    return Evaluation(reading.num_characters, len(reading.ids) - 1, reading.unknown_rate, nats)


def held_out_part(run_dir: pathlib.Path, recorded: Recorded) -> str:
    """The text that the run held out.

    Raises:
      InputError: it held out nothing, or its corpus is no longer the one that it began with.
    """
    data = recorded.config.data
    if not data.valid_fraction:
        raise InputError(
            f'run_dir {str(run_dir)!r} held out no text: valid_fraction=0. Name one that it has not seen with '
            f'--corpus, or train with --valid_fraction=0.1.'
        )
    text = corpus.load(data.corpus, encoding=data.encoding, newlines=data.newlines, max_characters=data.max_characters)
    run_directory.check_same(run_dir, recorded, recorded.config, text)
    return split(text, data.valid_fraction)[1]


def report(evaluation: Evaluation) -> str:
    """The figures as a table for people."""
    lines = [
        f'{evaluation.num_characters:,} characters, {evaluation.num_predicted:,} predicted, '
        f'{evaluation.unknown_rate:.2%} unknown',
        f'{"":8}{"perplexity":>12}{"nats/char":>12}{"bits/char":>12}',
    ]
    for name, nats in evaluation.nats.items():
        lines.append(f'{name:8}{scoring.perplexity(nats):12.2f}{nats:12.4f}{nats / math.log(2):12.4f}')
    if evaluation.unknown_rate > _MOST_UNKNOWN:
        lines.append('So much of this text is unknown to the model that the figures say little about it.')
    return '\n'.join(lines)


def main() -> None:
    run_dir = pathlib.Path(_FLAGS.run_dir) if _FLAGS.run_dir else run_directory.latest_run_dir()
    recorded = run_directory.read(run_dir)
    text, name = _text(run_dir, recorded)
    devices.prepare()
    model = CharRNN(recorded.config.model, len(recorded.vocabulary))
    checkpoint = load_model(run_dir, model, _FLAGS.checkpoint)
    evaluation = evaluate(model, recorded, text, name)
    if _FLAGS.json:
        print(program.json_line({'checkpoint': checkpoint, 'corpus': name} | evaluation.to_dict()))
    else:
        print(f'{checkpoint} on {name}:\n{report(evaluation)}')


def _text(run_dir: pathlib.Path, recorded: Recorded) -> tuple[str, str]:
    """The text to evaluate, and what to call it."""
    if not _FLAGS.corpus:
        stray = [name for name in ('encoding', 'newlines', 'max_characters') if _FLAGS[name].present]
        if stray:
            raise InputError(f'--{stray[0]} says how to read --corpus, which is not given. Give both or neither.')
        return held_out_part(run_dir, recorded), f'the held-out part of {recorded.config.data.corpus}'
    text = corpus.load(
        _FLAGS.corpus,
        encoding=_FLAGS.encoding,
        newlines=_FLAGS.newlines or recorded.config.data.newlines,
        max_characters=_FLAGS.max_characters,
    )
    return text, _FLAGS.corpus


if __name__ == '__main__':
    flags.DEFINE_string('run_dir', None, 'The run to evaluate. Default: the newest under runs/.')
    flags.DEFINE_string('corpus', None, 'A text, as in training. Default: the part that the run held out.')
    flags.DEFINE_string('encoding', DataConfig.encoding, 'How --corpus is encoded, such as utf-8, gb18030 or utf-16.')
    flags.DEFINE_enum('newlines', None, corpus.NEWLINES, "What --corpus' line breaks become. Default: as in training.")
    flags.DEFINE_integer(
        'max_characters', DataConfig.max_characters, 'So many characters of the start of --corpus; 0: all.', 0
    )
    flags.DEFINE_enum(
        'checkpoint',
        None,
        CHECKPOINTS,
        'The newest weights, or those of the lowest held-out perplexity. Default: the best if the run has kept one.',
    )
    flags.DEFINE_bool('json', False, 'Print one line of JSON, for machines; null stands for what is not finite.')
    program.run(main)
