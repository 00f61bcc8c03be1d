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

import pathlib
import sys

from absl import flags

from export.artifact import description, versions, warmup
from export.artifact.exporter import export
from pipeline import command_line, program, run_directory
from pipeline.checkpoints import CHECKPOINTS, load_model
from pipeline.checks import Limits
from pipeline.model import CharRNN

_FLAGS = flags.FLAGS


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
    if not (version_dir / versions.WARMUP_REQUESTS).exists():
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
