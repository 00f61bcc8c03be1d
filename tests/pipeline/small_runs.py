"""Runs of a small model whose held-out losses a test chooses."""

import contextlib
import json

import numpy as np

from data.ids import Ids
from data.vocabulary import Vocabulary
from data.windows import Windows
from pipeline import run
from pipeline.checkpoints import BestCheckpoint, Checkpoints
from pipeline.config import ModelConfig, TrainingConfig
from pipeline.interrupts import StopRequest
from pipeline.intervals import Interval
from pipeline.model import CharRNN
from pipeline.monitor import Monitor
from pipeline.profiler import Profiler
from pipeline.samples import Samples
from pipeline.trainer import Trainer
from tests.conftest import TEXT

VOCABULARY = Vocabulary.from_text(TEXT)
IDS = Ids.of(VOCABULARY.encode(TEXT))
EVERY_30_SECONDS = Interval(seconds=30)


def trainer_of(**config) -> Trainer:
    windows = Windows(len(TEXT), 4, 8)
    model = CharRNN(ModelConfig(hidden_size=8, init_scale=config.pop('init_scale', 0.01)), len(VOCABULARY))
    return Trainer(model, windows, TrainingConfig(**{'sample_every': '0', 'log_every': '1ep', 'jit': False} | config))


def train(run_dir, trainer: Trainer, loss, every: Interval = EVERY_30_SECONDS) -> None:
    per_epoch = trainer.windows.steps_per_epoch
    run_dir.mkdir(exist_ok=True)
    checkpoints = Checkpoints(run_dir, trainer, every)
    checkpoints.restore()
    trainer.know_reported_step()
    best = BestCheckpoint(run_dir, trainer.model)
    monitor = Monitor(run_dir, 0, 1, int(trainer.reported_step), per_epoch, has_valid=loss is not None, terminal=False)
    with contextlib.closing(monitor), StopRequest() as stop:
        samples = Samples(trainer.model, VOCABULARY)
        run.Run(trainer, IDS, checkpoints, best, monitor, Profiler(run_dir, None), stop, samples, loss).train()


def in_turn(losses: list[float]):
    left = iter(losses)
    return lambda _: next(left)


def best_record(run_dir) -> dict:
    return json.loads((run_dir / 'best' / 'best.json').read_text())


def losses_by_step(trainer: Trainer):
    """A held-out loss that depends on the step alone, and the steps at which it was asked for."""
    steps = []

    def loss(poll) -> float:
        poll()
        steps.append(trainer.step)
        return 3 + np.sin(trainer.step)

    return loss, steps


WITHIN_EPOCHS = {'num_epochs': 2, 'evaluate_every': '4', 'log_every': '5', 'sample_every': '7', 'sample_length': 2}
