"""Writes the work of a case to a file: the corpus, the windows of each epoch and the first weights of the model."""

import json
import pathlib

import numpy as np

from benchmarks.cases import Case
from data.windows import Windows
from pipeline.config import Config
from pipeline.model import CharRNN

_OPERATIONS = 6e11  # of the epochs of a contestant
_FEWEST, _MOST = 5, 30  # epochs


def num_epochs(operations: int) -> int:
    """Returns how many epochs a contestant trains, so that all cases take about as long; `operations`: of one epoch."""
    return round(min(_MOST, max(_FEWEST, _OPERATIONS / operations)))


def write(path: pathlib.Path, case: Case, ids: np.ndarray, vocabulary_size: int, num_epochs: int) -> None:
    """Writes what `benchmarks.peers.task` reads."""
    names = ('cell', 'hidden_size', 'num_layers', 'embedding_size', 'init_scale')
    config = Config().replace({name: getattr(case, name) for name in names})
    windows = Windows(len(ids), case.batch_size, case.num_steps)
    updates = windows.steps_per_epoch
    starts = np.array([windows.offsets(np.int64(step)) for step in range(num_epochs * updates)])
    model = CharRNN(config.model, vocabulary_size)
    training = {name: getattr(config.training, name) for name in ('learning_rate', 'clip_norm')}
    np.savez(
        path,
        settings=json.dumps({name: getattr(case, name) for name in names} | training),
        ids=ids,
        starts=starts.reshape([num_epochs, updates, case.batch_size]),
        num_steps=case.num_steps,
        **{f'weight_{variable.name.partition(":")[0]}': variable.numpy() for variable in model.trainable_variables},
    )
