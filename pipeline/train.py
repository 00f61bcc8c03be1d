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

Ctrl-C saves and stops; the same command resumes the run. To watch: tensorboard --logdir=runs
"""

from absl import flags

from data.files import tensorflow_path
from pipeline import program
from pipeline.config import Config, DataConfig, ModelConfig, TrainingConfig
from pipeline.flag_definitions import define_flags

_FLAGS = flags.FLAGS

for group in (DataConfig, ModelConfig, TrainingConfig):
    define_flags(group)
flags.DEFINE_string(
    'run_dir',
    None,
    'Directory of the run. If it holds a run, training resumes, and flags that are not given keep the values of that '
    'run. Default: a new directory under runs/.',
)


def main() -> int:
    given = {name: _FLAGS[name].value for name in Config().to_dict() if _FLAGS[name].present}
    run_dir = tensorflow_path('run_dir', _FLAGS.run_dir) if _FLAGS.run_dir else None
    config = Config() if run_dir else Config.from_dict(given)
    from pipeline import run_directory  # imports TensorFlow, which takes seconds
    from pipeline.run import run

    if run_dir:
        begun = run_directory.read(run_dir).config if run_directory.exists(run_dir) else config
        config = begun.replace(given)
    return run(config, run_dir)


if __name__ == '__main__':
    program.run(main)
