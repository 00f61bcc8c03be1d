"""What a run is: frozen, validated settings, and the one place where every default stands."""

import dataclasses
import re

from data.corpus import NEWLINES
from data.errors import InputError
from data.windows import SAMPLING

CELLS = ('rnn', 'gru', 'lstm')
CHECKPOINTS = ('latest', 'best')
ACTIVATIONS = ('tanh', 'relu')
OPTIMIZERS = ('sgd', 'adam', 'adamw', 'rmsprop')
SCHEDULES = ('constant', 'cosine', 'exponential')

_LARGEST_INT = 2**31 - 1
_LARGEST_FLOAT = 3.4e38
_LARGEST_NORM = 1e37  # tf.clip_by_global_norm divides by it, and 1 / 1e38 counts as 0
_LARGEST_ADAPTIVE_RATE = 1.0
_LONGEST_SAMPLE = 1_000_000  # characters


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f'{name}={value!r} is not one of {", ".join(choices)}.')


def _check_number(name: str, value: float, lowest: float, highest: float | None = None) -> None:
    """An integer must fit 32 bits, a fraction a float32: the graph computes with those."""
    whole = isinstance(lowest, int)
    if not isinstance(value, int if whole else int | float):
        raise InputError(f'{name}={value!r} must be a {"whole " if whole else ""}number.')
    highest = highest or (_LARGEST_INT if whole else _LARGEST_FLOAT)
    if not lowest <= value <= highest:
        raise InputError(f'{name}={value} must be between {lowest} and {highest}.')


@dataclasses.dataclass(frozen=True)
class Interval:
    """How often: after so many steps or seconds, one of which is 0."""

    steps: int
    seconds: float


def parse_interval(text: str) -> Interval:
    """`500` is every 500 steps, `30s` every 30 seconds. Raises `InputError` for anything else."""
    match = re.fullmatch(r'(\d{1,9})(s?)', text)
    if not match or not int(match[1]):
        raise InputError(
            f'checkpoint_every={text!r} must be a number of steps, such as 500, or of seconds, such as 30s.'
        )
    return Interval(0, float(match[1])) if match[2] else Interval(int(match[1]), 0)


def parse_steps(text: str) -> tuple[int, int] | None:
    """`10:20` is from step 10 to step 20; nothing is no profile. Raises `InputError` for anything else."""
    if not text:
        return None
    match = re.fullmatch(r'(\d{1,9}):(\d{1,9})', text)
    if not match or int(match[1]) >= int(match[2]):
        raise InputError(f'profile_steps={text!r} must be FIRST:LAST, two numbers of steps that rise, such as 10:20.')
    return int(match[1]), int(match[2])


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Which text, and which windows of it a minibatch takes."""

    corpus: str = 'lyrics'
    encoding: str = 'utf-8'
    newlines: str = 'space'
    max_characters: int = 0
    valid_fraction: float = 0.0
    min_count: int = 1
    sampling: str = 'random'
    batch_size: int = 32
    num_steps: int = 35

    def __post_init__(self):
        _check_choice('newlines', self.newlines, NEWLINES)
        _check_choice('sampling', self.sampling, SAMPLING)
        _check_number('max_characters', self.max_characters, 0)
        if not 0 <= self.valid_fraction < 1:
            raise InputError(f'valid_fraction={self.valid_fraction} must be 0 (hold out nothing) or more, and below 1.')
        _check_number('min_count', self.min_count, 1)
        _check_number('batch_size', self.batch_size, 1)
        _check_number('num_steps', self.num_steps, 1)


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The shape of the model and its first weights."""

    cell: str = 'rnn'
    activation: str = 'tanh'
    hidden_size: int = 256
    num_layers: int = 1
    init_scale: float = 0.01
    forget_bias: float = 0.0
    dropout: float = 0.0

    def __post_init__(self):
        _check_choice('cell', self.cell, CELLS)
        _check_choice('activation', self.activation, ACTIVATIONS)
        _check_number('hidden_size', self.hidden_size, 1)
        _check_number('num_layers', self.num_layers, 1)
        _check_number('init_scale', self.init_scale, 0.0)
        _check_number('forget_bias', self.forget_bias, -_LARGEST_FLOAT)
        if not 0 <= self.dropout < 1:
            raise InputError(f'dropout={self.dropout} must be 0 (off) or more, and below 1.')
        self._check_together()

    def _check_together(self) -> None:
        """Refuses what would be ignored: a run's settings say what it is."""
        if self.activation != ModelConfig.activation and self.cell != 'rnn':
            raise InputError(
                f'activation={self.activation!r} does not go with cell={self.cell!r}, whose activations are fixed: '
                f"leave activation out, or take cell='rnn'."
            )
        if self.forget_bias and self.cell != 'lstm':
            raise InputError(
                f'forget_bias={self.forget_bias} does not go with cell={self.cell!r}, which has no forget gate: leave '
                f"forget_bias at 0, or take cell='lstm'."
            )


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """How the weights are found, and what is shown meanwhile."""

    num_epochs: int = 250
    optimizer: str = 'sgd'
    learning_rate: float = 100.0
    momentum: float = 0.0
    weight_decay: float = 0.0
    schedule: str = 'constant'
    warmup_steps: int = 0
    clip_norm: float = 0.01
    seed: int = 0
    bptt_windows: int = 1
    jit: bool = True
    checkpoint_every: str = '30s'
    profile_steps: str = ''
    evaluate_every: int = 1
    early_stopping_patience: int = 0
    sample_every: int = 50
    sample_length: int = 50
    prefixes: tuple[str, ...] = ('分开', '不分开')

    def __post_init__(self):
        _check_number('num_epochs', self.num_epochs, 1)
        _check_number('learning_rate', self.learning_rate, 0.0)
        _check_number('momentum', self.momentum, 0.0)
        _check_number('weight_decay', self.weight_decay, 0.0)
        _check_number('warmup_steps', self.warmup_steps, 0)
        _check_choice('optimizer', self.optimizer, OPTIMIZERS)
        _check_choice('schedule', self.schedule, SCHEDULES)
        self._check_optimizer()
        parse_interval(self.checkpoint_every)
        parse_steps(self.profile_steps)
        _check_number('clip_norm', self.clip_norm, 0.0, _LARGEST_NORM)
        _check_number('seed', self.seed, 0)
        _check_number('bptt_windows', self.bptt_windows, 1)
        _check_number('evaluate_every', self.evaluate_every, 0)
        _check_number('early_stopping_patience', self.early_stopping_patience, 0)
        if self.early_stopping_patience and not self.evaluate_every:
            raise InputError(
                f'early_stopping_patience={self.early_stopping_patience} counts evaluations, but evaluate_every=0 '
                f'makes none. Set --evaluate_every to 1 or more, or --early_stopping_patience to 0.'
            )
        _check_number('sample_every', self.sample_every, 0)
        _check_number('sample_length', self.sample_length, 0, _LONGEST_SAMPLE)
        if not all(self.prefixes):
            raise InputError(
                f'prefixes={",".join(self.prefixes)!r} has an empty prefix: each needs one character or more.'
            )

    def _check_optimizer(self) -> None:
        adaptive = self.optimizer != 'sgd'
        if adaptive and self.learning_rate > _LARGEST_ADAPTIVE_RATE:
            raise InputError(
                f'learning_rate={self.learning_rate} is too large for optimizer={self.optimizer}, whose steps are about'
                f' that large: give --learning_rate of {_LARGEST_ADAPTIVE_RATE} or less, such as 0.003.'
            )
        if self.momentum and self.optimizer not in ('sgd', 'rmsprop'):
            raise InputError(f'momentum={self.momentum} is for optimizer=sgd or rmsprop; {self.optimizer} has its own.')
        if self.momentum >= 1:
            raise InputError(f'momentum={self.momentum} must be below 1.')
        if bool(self.weight_decay) != (self.optimizer == 'adamw'):
            raise InputError(
                f'weight_decay={self.weight_decay} with optimizer={self.optimizer}: weight decay and adamw belong '
                f'together. Give both, such as --optimizer=adamw --weight_decay=0.01, or neither.'
            )


# What may differ when a run goes on. These do not touch the weights of a step; the corpus is compared by its text.
MAY_CHANGE = frozenset(
    {
        'corpus',
        'num_epochs',
        'checkpoint_every',
        'profile_steps',
        'evaluate_every',
        'early_stopping_patience',
        'sample_every',
        'sample_length',
        'prefixes',
    }
)


@dataclasses.dataclass(frozen=True)
class Config:
    """All the settings of a run, in three groups whose fields have distinct names: the names of the flags."""

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()

    def __post_init__(self):
        """Refuses what needs another setting that is not there."""
        if self.training.bptt_windows > 1 and self.data.sampling != 'consecutive':
            raise InputError(
                f'bptt_windows={self.training.bptt_windows} needs windows that follow each other, but sampling='
                f'{self.data.sampling} shuffles them. Set --sampling=consecutive, or leave --bptt_windows at 1.'
            )
        for name in ('evaluate_every', 'early_stopping_patience'):
            value = getattr(self.training, name)
            if not self.data.valid_fraction and value not in (0, getattr(TrainingConfig, name)):
                raise InputError(
                    f'{name}={value} needs a held-out part to evaluate, but valid_fraction=0 holds out nothing. Set '
                    f'--valid_fraction, such as to 0.1, or leave --{name} out.'
                )

    def to_dict(self) -> dict:
        """`{field: value}` over the three groups, ready for JSON."""
        return {name: value for group in dataclasses.asdict(self).values() for name, value in group.items()}

    @classmethod
    def from_dict(cls, values: dict) -> 'Config':
        """The config with these values, and defaults for the rest. Raises `InputError` if a name or value is off."""
        return cls().replace(values)

    def replace(self, values: dict) -> 'Config':
        """A copy in which the named fields have new values."""
        unknown = values.keys() - self.to_dict().keys()
        if unknown:
            raise InputError(f'config has no field {sorted(unknown)}; it has {sorted(self.to_dict())}.')
        groups = {}
        for group in dataclasses.fields(self):
            current = getattr(self, group.name)
            own = {f.name: _like(f.default, values[f.name]) for f in dataclasses.fields(current) if f.name in values}
            groups[group.name] = dataclasses.replace(current, **own)
        return Config(**groups)


def differences(old: Config, new: Config) -> dict[str, tuple]:
    """`{field: (old value, new value)}` for the fields that must not change when a run goes on, but do."""
    then, now = old.to_dict(), new.to_dict()
    # A schedule that falls till the end of the run would be another one in a longer run.
    may_change = MAY_CHANGE if old.training.schedule == 'constant' else MAY_CHANGE - {'num_epochs'}
    return {name: (then[name], now[name]) for name in then if name not in may_change and then[name] != now[name]}


def _like(default, value):
    """JSON and flags have lists where the fields have tuples."""
    return tuple(value) if isinstance(default, tuple) else value
