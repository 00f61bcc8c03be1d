"""The trainer of this project."""

import sys
import time

import numpy as np
import tensorflow as tf

from benchmarks.peers.task import Task, report
from data.ids import Ids
from data.windows import Windows
from pipeline import devices
from pipeline.config import Config
from pipeline.model import CharRNN
from pipeline.trainer import Trainer


def main(path: str) -> None:
    devices.prepare()
    task = Task.read(path)
    num_epochs, _, batch_size = task.starts.shape
    config = Config().replace(task.settings | {'num_epochs': num_epochs})
    windows = Windows(len(task.ids), batch_size, task.num_steps)
    model = CharRNN(config.model, task.vocabulary_size)
    trainer = Trainer(model, windows, config.training)
    for variable in model.trainable_variables:
        np.testing.assert_array_equal(variable.numpy(), task.weights[variable.name.partition(':')[0]])
    ends = [time.monotonic()]
    for progress in trainer.train(Ids.of(task.ids)):
        if progress.epoch_ended:
            ends.append(time.monotonic())
    seconds = np.diff(ends).tolist()
    report(task, f'charrnn, TensorFlow {tf.__version__}', seconds, progress.epoch_means.loss, ends[1])


if __name__ == '__main__':
    main(*sys.argv[1:])
