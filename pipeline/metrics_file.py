"""`metrics.jsonl` of a run: the points of its curves, for scripts. One line of JSON for each point.

  epoch, step             the epoch, and the minibatches trained
  loss, perplexity        of the training part since the point before, while the weights moved; nats per character, and
                          its exponential
  global_norm             mean L2 norm of all gradients before clipping
  clipped_fraction        of the minibatches
  learning_rate           of the last update
  valid_loss, valid_perplexity    of the held-out part, if it was evaluated at this step
  seconds                 that this process trained since the point before

A number that is not finite is null. The lines of a run that was killed and resumed equal those of an unbroken run, but
for the seconds.
"""

import json
import math
import pathlib

from data.files import write_whole
from pipeline.perplexity import finite

NAME = 'metrics.jsonl'


def resume(run_dir: pathlib.Path, step: int) -> None:
    """Removes the lines of later steps, which a resumed run writes again. Raises `OSError`."""
    path = run_dir / NAME
    lines = path.read_text('utf-8').splitlines() if path.exists() else []
    write_whole(path, ''.join(f'{line}\n' for line in lines if _step(line) <= step))


def append(run_dir: pathlib.Path, epoch: int, step: int, **values: float) -> None:
    """Writes the line of a point. Raises `OSError`."""
    line = {'epoch': epoch, 'step': step} | {name: finite(value) for name, value in values.items()}
    with (run_dir / NAME).open('a', encoding='utf-8') as file:
        file.write(json.dumps(line) + '\n')


def _step(line: str) -> float:
    """Returns the step of a line; that of a line which a kill cut short is infinite."""
    try:
        return json.loads(line)['step']
    except (ValueError, KeyError, TypeError):
        return math.inf
