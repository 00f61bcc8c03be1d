"""Writes a trained run as a SavedModel that turns a prefix into text by itself.

The artifact needs nothing but TensorFlow's own runtime: vocabulary and loop are inside, text goes in and comes out.
Examples:

  python -m export.saved_model                                   (the newest run under runs/)
  python -m export.saved_model --run_dir=runs/mine --model_dir=models/mine
  python -m export.saved_model --run_dir=runs/mine --checkpoint=latest      (default: the best by held-out text, if any)

Each export is a new version, <model_dir>/<integer>, as TensorFlow Serving expects.
"""

import pathlib
import shutil
import tempfile

import tensorflow as tf
from absl import flags

from data.vocabulary import Vocabulary
from export.versions import next_version
from pipeline import program, run_directory
from pipeline.checkpoints import CHECKPOINTS, load_model
from pipeline.generate import SIGNATURE, Generator
from pipeline.model import CharRNN

_FLAGS = flags.FLAGS


class Artifact(tf.Module):
    """What is exported: the generator behind its signatures, all of whose inputs and outputs are `[N]`."""

    def __init__(self, model: CharRNN, vocabulary: Vocabulary, default_length: int):
        """`serving_default` adds `default_length` characters, greedily."""
        super().__init__()
        self._generator = Generator(model, vocabulary)
        self._default_length = default_length

    @tf.function(input_signature=SIGNATURE)
    def generate(self, prefix, length, temperature, top_k, top_p, seed):
        """All knobs, each per row; see `Generator`."""
        text, log_likelihood = self._generator(prefix, length, temperature, top_k, top_p, seed)
        return {'text': text, 'log_likelihood': log_likelihood}

    @tf.function(input_signature=SIGNATURE[:1])
    def serving_default(self, prefix):
        """The most likely continuation of each prefix."""
        rows = tf.shape(prefix)
        text, _ = self._generator(
            prefix,
            tf.fill(rows, self._default_length),
            tf.zeros(rows, tf.float32),
            tf.zeros(rows, tf.int32),
            tf.ones(rows, tf.float32),
            tf.zeros(rows, tf.int64),
        )
        return {'text': text}


def export(model: CharRNN, vocabulary: Vocabulary, model_dir: pathlib.Path, default_length: int) -> pathlib.Path:
    """Writes the next version under `model_dir` and returns its directory, which appears whole or not at all."""
    artifact = Artifact(model, vocabulary, default_length)
    signatures = {'serving_default': artifact.serving_default, 'generate': artifact.generate}
    model_dir.mkdir(parents=True, exist_ok=True)
    aside = pathlib.Path(tempfile.mkdtemp(prefix='writing-', dir=model_dir))  # no number: no server takes it
    try:
        tf.saved_model.save(artifact, str(aside), signatures)
        aside.chmod(0o755)  # mkdtemp lets nobody else read, and a server is often somebody else
        return aside.rename(next_version(model_dir))
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def main() -> None:
    run_dir = pathlib.Path(_FLAGS.run_dir) if _FLAGS.run_dir else run_directory.latest_run_dir()
    recorded = run_directory.read(run_dir)
    model = CharRNN(recorded.config.model, len(recorded.vocabulary))
    checkpoint = load_model(run_dir, model, _FLAGS.checkpoint)
    version_dir = export(
        model, recorded.vocabulary, pathlib.Path(_FLAGS.model_dir), recorded.config.training.sample_length
    )
    first = recorded.config.training.prefixes[0]
    print(f'{checkpoint} -> {version_dir}')
    print(f'Next: python -m export.generate --model_dir={_FLAGS.model_dir} --prefix={first} --length=50')


if __name__ == '__main__':
    flags.DEFINE_string('run_dir', None, 'The run to export. Default: the newest under runs/.')
    flags.DEFINE_enum(
        'checkpoint',
        None,
        CHECKPOINTS,
        'The newest weights, or those of the lowest held-out perplexity. Default: the best if the run has kept one.',
    )
    flags.DEFINE_string('model_dir', 'models/charrnn', 'Where versions of the model are kept.')
    program.run(main)
