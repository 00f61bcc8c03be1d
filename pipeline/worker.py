"""A worker that trains with a chief, which alone writes the run."""

from data.windows import Windows
from pipeline import strategies
from pipeline.config import Config
from pipeline.dataset import Dataset
from pipeline.interrupts import StopRequest
from pipeline.strategies import Strategy
from pipeline.trainer import make_trainer


def follow(config: Config, dataset: Dataset, windows: Windows, strategy: Strategy) -> int:
    """Trains until the chief, or a stop request to any worker, ends the run; returns the exit code.

    Raises:
      InputError: the workers do not fit each other.
    """
    device, replicas = strategies.start(strategy, config, dataset.sha256)
    trainer = make_trainer(config, len(dataset.vocabulary), windows, replicas)
    print(f'on {device}: follows the chief, which writes the run', flush=True)
    if trainer.begins_together(ends=False):
        return 0
    with strategies.watch(strategy, config.training.worker_timeout), StopRequest('all workers stop') as stop:
        for _ in trainer.train(dataset.ids, should_stop=lambda: bool(stop.signal)):
            pass
    print(f'ended after step {trainer.step:,}')
    return stop.exit_code or (strategies.STOPPED if trainer.was_asked_to_stop else 0)
