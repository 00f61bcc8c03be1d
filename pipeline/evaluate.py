"""Reports how well a trained run predicts a text: perplexity, nats and bits per character, and two baselines.

Examples:

  python -m pipeline.evaluate --run_dir=runs/mine                            (the test part, else the valid part)
  python -m pipeline.evaluate --run_dir=runs/mine --corpus=another.txt
  python -m pipeline.evaluate --run_dir=runs/mine --checkpoint=latest --json

The model reads the text as one stream and predicts each character from all characters before it. Before a held-out part
it reads the 1,000 characters that precede it; in another text it does not predict the first character.
Uniform baseline: all characters of the vocabulary are equally likely. Unigram baseline: each is as likely as its
frequency in the training part. A run with --min_count of 2 or more reads characters outside its vocabulary as U+FFFD;
other runs leave them out. The report counts these characters. Do not compare perplexities of runs that differ in this.
"""

from absl import flags

from data import program
from data.errors import InputError
from data.files import tensorflow_path, user_path
from data.flag_definitions import define_flags
from pipeline.checkpoint_flag import define_checkpoint
from pipeline.config import PARTS, DataConfig

_FLAGS = flags.FLAGS
_READING = ('encoding', 'encoding_errors', 'newlines', 'max_characters')  # flags that apply to --corpus


def main() -> None:
    stray = [name for name in _READING if _FLAGS[name].present]
    if stray and not _FLAGS.corpus:
        raise InputError(f'--{stray[0]} applies to --corpus, which is not given. Give both or neither.')
    if _FLAGS.part and _FLAGS.corpus:
        raise InputError(f'give --part={_FLAGS.part}, a part of the corpus of the run, or --corpus, not both.')
    from pipeline import evaluation, evaluator, run_directory, run_evaluation  # imports TensorFlow, which takes seconds

    run_dirs = [tensorflow_path('run_dir', run_dir) for run_dir in _FLAGS.run_dir] or [run_directory.latest_run_dir()]
    given = {name: _FLAGS[name].value for name in ('corpus', *_READING) if _FLAGS[name].present}
    methods = evaluator.Methods(_FLAGS.baselines, _FLAGS.cache, _FLAGS.dynamic, novelty=_FLAGS.novelty)
    constants_of = user_path('constants_of', _FLAGS.constants_of) if _FLAGS.constants_of else None
    checkpoints, name, found = run_evaluation.evaluate_runs(
        run_dirs, _FLAGS.checkpoint, _FLAGS.part, given, methods, constants_of
    )
    checkpoint = ', '.join(map(str, checkpoints))
    if _FLAGS.json:
        print(program.json_line({'checkpoint': checkpoint, 'corpus': name} | found.to_dict()))
    else:
        print(f'{checkpoint} on {name}:\n{evaluation.report(found)}')


if __name__ == '__main__':
    flags.DEFINE_multi_string(
        'run_dir',
        [],
        'Run to evaluate. Default: the newest under runs/. Repeat the flag for several runs on the same text: their '
        'mixture is evaluated, too.',
    )
    flags.DEFINE_enum('part', None, PARTS, 'Held-out part of the run. Default: test if the run has one, else valid.')
    flags.DEFINE_string('corpus', None, 'Another text to evaluate on, as in training.')
    define_flags(DataConfig, _READING, computed={'newlines': 'Default: as in training.'})
    define_checkpoint()
    flags.DEFINE_bool(
        'baselines',
        False,
        'Add n-gram models of the training part (modified Kneser-Ney, 1 to 7 characters), and the perplexity on new '
        'text: where 5 characters, the last of them predicted, were not read before.',
    )
    flags.DEFINE_bool(
        'dynamic',
        False,
        'Add dynamic evaluation (Krause et al. 2018): the model goes on learning from what it has read. Its rate, and '
        'the weights of mixtures, are chosen on the validation part.',
    )
    flags.DEFINE_string(
        'constants_of',
        None,
        'Another run that was evaluated in the same way: use the rate and the weights that its validation part chose. '
        'An evaluation keeps them in evaluation.json of its first run.',
    )
    flags.DEFINE_bool(
        'cache',
        False,
        'Add each model with a cache of the n-grams that it has read, which adapts it to the text. That figure '
        'measures repetition: quote it only beside the one without a cache.',
    )
    flags.DEFINE_bool(
        'novelty',
        False,
        'Add how much of the text that the model generates is copied from the training part, at three temperatures.',
    )
    flags.DEFINE_bool('json', False, 'Print one line of JSON. A number that is not finite is null.')
    program.run(main)
