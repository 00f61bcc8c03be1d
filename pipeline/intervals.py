"""How often a run saves, evaluates and reports: after a number of steps, seconds or epochs."""

import dataclasses
import re
import time
from collections.abc import Callable

from data.errors import InputError

UNITS = 'A number of steps (minibatches), such as 500, of seconds, such as 30s, or of epochs, such as 2ep'


@dataclasses.dataclass(frozen=True)
class Interval:
    """A number of steps, of seconds or of epochs; the others are 0. Never if all are 0."""

    steps: int = 0
    seconds: float = 0.0
    epochs: int = 0

    @classmethod
    def parse(cls, name: str, text: str) -> 'Interval':
        """Parses `500`, `30s` or `2ep`; `0`: never. Raises `InputError`, which names the setting, for another text."""
        match = re.fullmatch('([0-9]{1,9})(s|ep)?', text)
        if not match or (match[2] and not int(match[1])):
            raise InputError(
                f'{name}={text!r} must be a number of steps, such as 500, of seconds, such as 30s, or of epochs, such '
                f'as 2ep.'
            )
        unit = {None: 'steps', 's': 'seconds', 'ep': 'epochs'}[match[2]]
        return cls(**{unit: int(match[1])})

    def __bool__(self) -> bool:
        return bool(self.steps or self.seconds or self.epochs)

    def without_epochs(self, steps_per_epoch: int) -> 'Interval':
        """Returns the same interval in steps or seconds."""
        return Interval(self.steps + self.epochs * steps_per_epoch, self.seconds)


class Due:
    """Says when something is due: at the multiples of a number of steps, or some seconds after the last time."""

    def __init__(self, interval: Interval, clock: Callable[[], float] = time.monotonic):
        """`interval` is in steps or seconds; `clock` returns seconds."""
        self._interval, self._clock, self._last = interval, clock, clock()

    def at(self, step: int, *, at_end: bool = False) -> bool:
        """Returns whether it is due after `step`; at the end of a run it is, unless it never is."""
        if at_end or not self._interval:
            return bool(self._interval)
        if self._interval.steps:
            return step % self._interval.steps == 0
        return self._clock() - self._last >= self._interval.seconds

    def done(self) -> None:
        """Counts seconds from now."""
        self._last = self._clock()
