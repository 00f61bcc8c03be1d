r"""Exports a trained run as a SavedModel that continues a prefix.

The SavedModel contains the vocabulary and the generation loop and needs only TensorFlow's runtime. Examples:

  python -m export.saved_model                                   (the newest run under runs/)
  python -m export.saved_model --run_dir=runs/mine --model_dir=models/mine
  python -m export.saved_model --run_dir=runs/mine --checkpoint=latest      (default: best, if the run has one)
  python -m export.saved_model --max_length=200 --max_prefix=500            (limits of a request)
  python -m export.saved_model --sample_temperature=0.7 --sample_stop=$'\n\n'   (what the signature "sample" does)
  python -m export.saved_model --keep_versions=3                            (then remove all but the newest 3 versions)

Each export writes a new version directory, <model_dir>/<integer>, as TensorFlow Serving expects. The directory appears
only when it is complete, so a server may watch <model_dir>. Beside the SavedModel, the directory holds a description of
the model, assets.extra/charrnn.json, and warm-up requests for TensorFlow Serving.
"""

import dataclasses
from typing import Any

from absl import flags

from data import program
from data.files import tensorflow_path
from data.flag_definitions import define_flags
from export.artifact.sample_settings import SampleSettings
from pipeline.checkpoint_flag import define_checkpoint
from pipeline.limits import Limits

_FLAGS = flags.FLAGS


def main() -> None:
    limits = Limits(_FLAGS.max_length, _FLAGS.max_prefix)
    given: dict[str, Any] = {
        f.name: _FLAGS[f.name].value for f in dataclasses.fields(SampleSettings) if _FLAGS[f.name].present
    }
    settings = SampleSettings(**{'sample_length': min(SampleSettings.sample_length, limits.max_length)} | given)
    run_dir = tensorflow_path('run_dir', _FLAGS.run_dir) if _FLAGS.run_dir else None
    model_dir = tensorflow_path('model_dir', _FLAGS.model_dir)
    from export.artifact.from_run import export_run

    export_run(run_dir, model_dir, _FLAGS.checkpoint, limits, settings, _FLAGS.keep_versions)


if __name__ == '__main__':
    flags.DEFINE_string('run_dir', None, 'Run to export. Default: the newest under runs/.')
    define_checkpoint()
    flags.DEFINE_string('model_dir', 'models/charrnn', 'Directory of the versions of the model.')
    define_flags(Limits)
    define_flags(SampleSettings)
    flags.DEFINE_integer('keep_versions', 0, 'Keep only this many of the newest versions. 0: keep all.', 0)
    program.run(main)
