"""The first weights of a run from another run or from an exported model, whose text may have other characters."""

import json
import pathlib
from typing import NamedTuple

import numpy as np

from data.errors import InputError
from data.files import tensorflow_path
from data.vocabulary import Vocabulary
from pipeline import checkpoints, run_directory
from pipeline.config import ModelConfig
from pipeline.model import CharRNN

_SHAPE = ('cell', 'activation', 'hidden_size', 'num_layers', 'embedding_size', 'tie_embeddings')


class _Source(NamedTuple):
    """What a run or an exported model is loaded from."""

    characters: str
    """Of its vocabulary, in the order of their ids."""
    config: ModelConfig
    checkpoint: pathlib.Path


def transfer_weights(init_from: str, model: CharRNN, vocabulary: Vocabulary) -> str:
    """Sets the weights of a new model to those of a trained one; returns a line on it.

    The rows and columns that belong to characters follow their characters, whatever their ids. Those of characters that
    the source does not have keep their values.

    Args:
      init_from: a run directory, or a version directory of an exported model. Of a run, the best checkpoint if it has
        one, else the latest.
      model: the new model.
      vocabulary: that of the new model.

    Raises:
      InputError: there is no such source, or its model has another shape.
    """
    source = _read(tensorflow_path('init_from', init_from))
    differing = [name for name in _SHAPE if getattr(source.config, name) != getattr(model.config, name)]
    if differing:
        theirs = ' '.join(f'--{name}={getattr(source.config, name)}' for name in differing)
        raise InputError(f'init_from={init_from!r} has a model of another shape: give {theirs}.')
    trained = CharRNN(source.config, len(source.characters))
    checkpoints.load_weights(source.checkpoint, trained)
    ids = {character: number for number, character in enumerate(source.characters)}
    known = np.array([character in ids for character in vocabulary.characters])
    found = np.array([ids.get(character, 0) for character in vocabulary.characters])
    for new, old in zip(model.trainable_variables, trained.trainable_variables, strict=True):
        axis = _character_axis(new.name.split(':')[0], model.config)
        if axis is None:
            new.assign(old)
        else:
            mask = known if axis or len(new.shape) == 1 else known[:, np.newaxis]
            new.assign(np.where(mask, old.numpy().take(found, axis), new.numpy()))
    return (
        f'starts from the weights of {source.checkpoint}: {known.sum():,} of {len(known):,} characters are known there'
    )


def _character_axis(name: str, config: ModelConfig) -> int | None:
    """Returns the axis of a weight whose entries belong to characters; None: it has no such axis."""
    if name in ('b_q', 'embedding') or (name == 'w_xh' and not config.embedding_size):
        return 0
    return 1 if name == 'w_hq' and not config.tie_embeddings else None


def _read(path: pathlib.Path) -> _Source:
    if run_directory.exists(path):
        record = run_directory.read(path)
        return _Source(record.vocabulary.characters, record.config.model, checkpoints.find(path))
    try:
        description = json.loads((path / 'assets.extra' / 'charrnn.json').read_text('utf-8'))
        fields = {name: description['config'][name] for name in _SHAPE}
        return _Source(description['vocabulary'], ModelConfig(**fields), path / 'variables' / 'variables')
    except InputError as error:
        raise InputError(f'init_from={str(path)!r} cannot be used: {error} Use another --init_from.') from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f'init_from={str(path)!r} is neither a run directory nor a version directory of an exported model.'
        ) from error
