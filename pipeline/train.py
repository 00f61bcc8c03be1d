"""Trains a character-level recurrent language model on any text.

Without flags it repeats the experiment of section 6.4 of Dive into Deep Learning (Chinese edition, v1) on the bundled
lyrics. Examples:

  python -m pipeline.train
  python -m pipeline.train --corpus=my_novel.txt --newlines=keep --prefixes="Once upon" --prefixes="It was"
  python -m pipeline.train --corpus="texts/**/*.txt" --sampling=consecutive --hidden_size=512
  python -m pipeline.train --cell=lstm --num_layers=2 --dropout=0.2
  python -m pipeline.train --flagfile=pipeline/presets/gru.flags    (an experiment of the book)
  python -m pipeline.train --valid_fraction=0.1 --min_count=2 --early_stopping_patience=20
  python -m pipeline.train --run_dir=runs/mine --num_epochs=500     (starts or resumes runs/mine)
  python -m pipeline.train --corpus=small.txt --init_from=runs/mine (begins with the weights of another run)

Ctrl-C saves and stops; the same command resumes the run. To watch: tensorboard --logdir=runs
"""

import os
import pathlib

from absl import flags

from data import program
from data.errors import InputError
from data.files import tensorflow_path, user_path, write_whole
from data.flag_definitions import define_flags
from pipeline.config import Config, DataConfig, ModelConfig, TrainingConfig

_FLAGS = flags.FLAGS

for group in (DataConfig, ModelConfig, TrainingConfig):
    define_flags(group)
flags.DEFINE_string(
    'run_dir',
    None,
    'Directory of the run. If it holds a run, training resumes, and flags that are not given keep the values of that '
    'run. Default: a new directory under runs/.',
)
flags.DEFINE_string(
    'export_flags',
    None,
    'File to write when training has ended: --run_dir of this run. "python -m export.saved_model --flagfile=FILE" then '
    'exports this run, and not another one that was started meanwhile.',
)


def main() -> int:
    given = {name: _FLAGS[name].value for name in Config().to_dict() if _FLAGS[name].present}
    run_dir = tensorflow_path('run_dir', _FLAGS.run_dir) if _FLAGS.run_dir else None
    export_flags = _export_flags(_FLAGS.export_flags) if _FLAGS.export_flags else None
    config = Config() if run_dir else Config.from_dict(given)
    from pipeline import run_directory  # imports TensorFlow, which takes seconds
    from pipeline.run import run

    if run_dir:
        begun = run_directory.read(run_dir).config if run_directory.exists(run_dir) else config
        config = begun.replace(given)
    ended = run(config, run_dir)
    if export_flags and ended.run_dir and not ended.exit_code:
        _write_export_flags(export_flags, ended.run_dir)
    return ended.exit_code


def _export_flags(value: str) -> pathlib.Path:
    """Returns the path in --export_flags. Raises `InputError` before the training if no file can be written there."""
    path = user_path('export_flags', value)
    if not os.access(path.parent, os.W_OK):
        raise InputError(f'export_flags={value!r} cannot be written: its folder is missing or read-only. Use another.')
    return path


def _write_export_flags(path: pathlib.Path, run_dir: pathlib.Path) -> None:
    try:
        write_whole(path, f'--run_dir={run_dir}\n')
    except OSError as error:
        raise InputError(f'export_flags={str(path)!r} cannot be written: {error}. Use another file.') from error


if __name__ == '__main__':
    program.run(main)
