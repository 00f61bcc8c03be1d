"""`assets.extra/charrnn.json`: what an exported model is, for programs that serve it and people who find it.

  format              1; another number means other keys
  vocabulary          all characters in the order of their ids, one string
  unknown_id          the id of U+FFFD, which characters not in the vocabulary are read as; null: they are refused
  vocabulary_sha256   of that string in UTF-8
  default_length      how many characters `serving_default` adds
  limits              the most that a row may ask for: max_length, characters to generate, and max_prefix, characters of
                      a prefix; a text to score may have as many as both together
  state               of the signature `step`: names of its tensors in order, and size, the H of their shape [N, H]
  versions            charrnn, tensorflow, keras, python: of the program that exported

The others are null where the weights come from no run directory:

  corpus              name, as --corpus had it; sha256 of its normalised text in UTF-8
  config              all settings of the run, by the names of its flags
  checkpoint          name, inside the run directory; step, minibatches trained till then
  perplexity          train: mean over the checkpoint's epoch, as far as it had come, while the weights moved; valid: of
                      the held-out part with these very weights; null for what the run has not recorded
"""

import dataclasses
import json
import math
import pathlib
import platform
import tomllib

import keras
import tensorflow as tf

from data.windows import Windows
from export.artifact.artifact import Artifact
from export.artifact.versions import DESCRIPTION
from pipeline import checkpoints, evaluation, run_directory
from pipeline.config import Config
from pipeline.run_directory import Recorded

_FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Source:
    """The run that weights come from: its settings, and the keys of the same names above, ready for JSON."""

    config: Config
    corpus: dict
    checkpoint: dict
    perplexity: dict


def source(run_dir: pathlib.Path, recorded: Recorded, checkpoint: str) -> Source:
    """What is known of the weights in one of the checkpoints of a run; `checkpoint` is its path."""
    data = recorded.config.data
    windows = Windows(sum(recorded.counts), data.batch_size, data.num_steps, data.sampling)
    path = pathlib.Path(checkpoint)
    nats = checkpoints.recorded_nats(run_dir, path, windows.steps_per_epoch)
    return Source(
        recorded.config,
        {'name': data.corpus, 'sha256': recorded.corpus_sha256},
        {'name': f'{path.parent.name}/{path.name}', 'step': checkpoints.step_of(path)},
        {part: None if n is None else _finite(evaluation.perplexity(n)) for part, n in nats.items()},
    )


def describe(artifact: Artifact, source: Source | None) -> dict:
    """The description, ready for JSON."""
    vocabulary = artifact.vocabulary
    return {
        'format': _FORMAT,
        'vocabulary': vocabulary.characters,
        'unknown_id': vocabulary.unknown_id,
        'vocabulary_sha256': run_directory.text_sha256(vocabulary.characters),
        'default_length': artifact.default_length,
        'limits': dataclasses.asdict(artifact.limits),
        'state': {'names': list(artifact.state_names), 'size': artifact.model.config.hidden_size},
        'versions': _versions(),
        'corpus': source and source.corpus,
        'config': source and source.config.to_dict(),
        'checkpoint': source and source.checkpoint,
        'perplexity': source and source.perplexity,
    }


def write(version_dir: pathlib.Path, artifact: Artifact, source: Source | None) -> None:
    """Writes the description into a version directory that is not yet in place."""
    path = version_dir / DESCRIPTION
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(describe(artifact, source), ensure_ascii=False, indent=1) + '\n', 'utf-8')


def _versions() -> dict[str, str]:
    # An application that runs from its checkout: the project file is beside it, and nothing of it need be installed.
    project = tomllib.loads((pathlib.Path(__file__).parents[2] / 'pyproject.toml').read_text('utf-8'))
    return {
        'charrnn': project['project']['version'],
        'tensorflow': tf.__version__,
        'keras': keras.__version__,
        'python': platform.python_version(),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
