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

import pathlib

from absl import flags

from data import corpus
from data.errors import InputError
from pipeline import devices, program, run_directory
from pipeline.checkpoints import load_model
from pipeline.config import CHECKPOINTS, DataConfig
from pipeline.evaluation import evaluate, held_out_part, report
from pipeline.model import CharRNN
from pipeline.run_directory import Recorded

_FLAGS = flags.FLAGS


def main() -> None:
    run_dir = pathlib.Path(_FLAGS.run_dir) if _FLAGS.run_dir else run_directory.latest_run_dir()
    recorded = run_directory.read(run_dir)
    text, name = _text(run_dir, recorded)
    devices.prepare()
    model = CharRNN(recorded.config.model, len(recorded.vocabulary))
    checkpoint = load_model(run_dir, model, _FLAGS.checkpoint)
    found = evaluate(model, recorded, text, name)
    if _FLAGS.json:
        print(program.json_line({'checkpoint': checkpoint, 'corpus': name} | found.to_dict()))
    else:
        print(f'{checkpoint} on {name}:\n{report(found)}')


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
