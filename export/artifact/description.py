"""`assets.extra/charrnn.json`: describes an exported model to servers and people.

  format              3; another number means other keys or signatures, or other texts for the same seed
  vocabulary          all characters in the order of their ids, as one string
  unknown_id          id of U+FFFD, which replaces characters outside the vocabulary; null: they are an error
  vocabulary_sha256   SHA-256 of that string in UTF-8
  default_length      number of characters that `serving_default` adds
  sample              of the signature `sample`: length, temperature, top_k, top_p and stop
  limits              max_length, the most characters to add to a row, and max_prefix, the longest prefix; a text to
                      score may have max_length + max_prefix characters
  state               of the signature `step`: names, the state tensors in order, and size, the H of their shape [N, H]
  versions            charrnn, tensorflow, keras and python: the versions that exported the model

The other keys are null if the weights do not come from a run directory:

  corpus              name, the value of --corpus; sha256 of its normalised text in UTF-8
  config              all settings of the run, by flag name
  checkpoint          name, inside the run directory; step, the number of minibatches trained
  perplexity          train: mean over the minibatches of the checkpoint's epoch up to the checkpoint, while the weights
                      changed; valid: of the held-out part with the checkpoint's weights; null: not recorded by the run
"""

import dataclasses
import json
import pathlib
import platform
import tomllib

import keras
import tensorflow as tf

from data.corpus import text_sha256
from data.windows import Windows
from export.artifact.artifact import Artifact
from export.artifact.versions import DESCRIPTION
from pipeline import checkpoints
from pipeline.config import Config
from pipeline.perplexity import finite, perplexity
from pipeline.run_directory import RunRecord

FORMAT = 3


@dataclasses.dataclass(frozen=True)
class Source:
    """The run of the exported weights: its settings, and the keys of the same names above, ready for JSON."""

    config: Config
    corpus: dict
    checkpoint: dict
    perplexity: dict


def read_source(run_dir: pathlib.Path, recorded: RunRecord, path: pathlib.Path) -> Source:
    """Reads what a run recorded about one of its checkpoints, given by its path."""
    data = recorded.config.data
    windows = Windows(sum(recorded.counts), data.batch_size, data.num_steps, data.sampling)
    nats = checkpoints.recorded_nats(run_dir, path, windows.steps_per_epoch)
    return Source(
        recorded.config,
        {'name': data.corpus, 'sha256': recorded.corpus_sha256},
        {'name': f'{path.parent.name}/{path.name}', 'step': checkpoints.step_of(path)},
        {part: None if n is None else finite(perplexity(n)) for part, n in nats.items()},
    )


def describe(artifact: Artifact, source: Source | None) -> dict:
    """Returns the description, ready for JSON."""
    vocabulary = artifact.vocabulary
    return {
        'format': FORMAT,
        'vocabulary': vocabulary.characters,
        'unknown_id': vocabulary.unknown_id,
        'vocabulary_sha256': text_sha256(vocabulary.characters),
        'default_length': artifact.default_length,
        'sample': {name.removeprefix('sample_'): v for name, v in dataclasses.asdict(artifact.settings).items()},
        'limits': dataclasses.asdict(artifact.limits),
        'state': {'names': list(artifact.state_names), 'size': artifact.model.config.hidden_size},
        'versions': _versions(),
        'corpus': source and source.corpus,
        'config': source and source.config.to_dict(),
        'checkpoint': source and source.checkpoint,
        'perplexity': source and source.perplexity,
    }


def write(version_dir: pathlib.Path, artifact: Artifact, source: Source | None) -> None:
    """Writes the description into a new version directory, before it is renamed to its number."""
    path = version_dir / DESCRIPTION
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(describe(artifact, source), ensure_ascii=False, indent=1) + '\n', 'utf-8')


def _versions() -> dict[str, str]:
    # The project runs from its checkout and need not be installed, so importlib.metadata may not know its version.
    project = tomllib.loads((pathlib.Path(__file__).parents[2] / 'pyproject.toml').read_text('utf-8'))
    return {
        'charrnn': project['project']['version'],
        'tensorflow': tf.__version__,
        'keras': keras.__version__,
        'python': platform.python_version(),
    }
