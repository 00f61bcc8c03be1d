"""The constants of an evaluation, which a validation part chooses, and their file in the directory of a run."""

import dataclasses
import json
import pathlib

from data.errors import InputError
from data.files import write_whole

_FILE = 'evaluation.json'


@dataclasses.dataclass(frozen=True)
class Constants:
    """What an evaluation needs beside the weights of the models."""

    dynamic_rate: float | None = None
    """The learning rate of dynamic evaluation."""
    weights: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    """The weights of the models of each mixture, by name."""


def write(run_dir: pathlib.Path, constants: Constants, checkpoints: list[pathlib.Path]) -> None:
    """Keeps the constants beside a run, with the checkpoints that they were chosen for. Raises `OSError`."""
    content = dataclasses.asdict(constants) | {'checkpoints': [str(checkpoint) for checkpoint in checkpoints]}
    write_whole(run_dir / _FILE, json.dumps(content, indent=1) + '\n')


def read(run_dir: pathlib.Path) -> Constants:
    """Returns the constants beside a run. Raises `InputError` if there are none or the file is damaged."""
    path = run_dir / _FILE
    try:
        content = json.loads(path.read_text('utf-8'))
        return Constants(content['dynamic_rate'], content['weights'])
    except FileNotFoundError as error:
        raise InputError(
            f'{run_dir} has no {_FILE}: evaluate this run first, on its test part and with a validation part.'
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f'{path} cannot be read: {error!r}. Evaluate this run again.') from error
