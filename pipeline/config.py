"""The settings of a run, as frozen dataclasses."""

import dataclasses
import re

from data.errors import InputError
from data.reading import ReadingConfig
from data.settings import LARGEST_FLOAT, check_fields, setting
from pipeline.intervals import UNITS, Interval

SAMPLING = ('random', 'consecutive')
CELLS = ('rnn', 'gru', 'lstm')
CHECKPOINTS = ('latest', 'best')
PARTS = ('valid', 'test')
ACTIVATIONS = ('tanh', 'relu')
OPTIMIZERS = ('sgd', 'adam', 'adamw', 'rmsprop')
SCHEDULES = ('constant', 'cosine', 'exponential')
STRATEGIES = ('auto', 'one_device', 'mirrored', 'multi_worker')

_LARGEST_NORM = 1e37  # tf.clip_by_global_norm divides by it, and a float32 rounds 1 / 1e38 to 0
_LARGEST_ADAPTIVE_RATE = 1.0
_LONGEST_SAMPLE = 1_000_000  # characters
_LONG_EPOCH = 1000  # steps


def parse_steps(text: str) -> tuple[int, int] | None:
    """Parses `10:20` as (10, 20) and an empty text as None. Raises `InputError` for anything else."""
    if not text:
        return None
    match = re.fullmatch(r'(\d{1,9}):(\d{1,9})', text)
    if not match or int(match[1]) >= int(match[2]):
        raise InputError(f'profile_steps={text!r} must be FIRST:LAST, with FIRST below LAST, such as 10:20.')
    return int(match[1]), int(match[2])


@dataclasses.dataclass(frozen=True)
class DataConfig(ReadingConfig):
    """The text, and the windows of it that make up a minibatch."""

    valid_fraction: float = setting(
        0.0,
        'Fraction of the text, from its end or before the --test_fraction, that chooses the best weights. 0: nothing.',
        lowest=0.0,
        below=1.0,
    )
    test_fraction: float = setting(
        0.0,
        'Fraction of the text, from its end, that only pipeline.evaluate reads. 0: nothing.',
        lowest=0.0,
        below=1.0,
    )
    valid_corpus: str = setting(
        '', 'Another text, named and read as --corpus, that chooses the best weights: instead of --valid_fraction.'
    )
    test_corpus: str = setting(
        '', 'Another text, named and read as --corpus, that only pipeline.evaluate reads: instead of --test_fraction.'
    )
    min_count: int = setting(
        1,
        'Characters rarer than this in the training part are replaced by one unknown character (U+FFFD), which is '
        'never generated. 1: off; the held-out perplexity then leaves out characters outside the training part.',
        lowest=1,
    )
    sampling: str = setting(
        'random',
        'random: windows in a new order each epoch, each from a zero state. consecutive: windows in the order of the '
        'text, each from the last state of the window before it.',
        choices=SAMPLING,
    )
    batch_size: int = setting(32, 'B, windows per minibatch.', lowest=1)
    num_steps: int = setting(35, 'T, characters per window, through which gradients flow back.', lowest=1)

    def __post_init__(self):
        super().__post_init__()
        for part in PARTS:
            fraction, other = getattr(self, f'{part}_fraction'), getattr(self, f'{part}_corpus')
            if fraction and other:
                raise InputError(
                    f'{part}_fraction={fraction} and {part}_corpus={other!r} both give a {part} part: leave one out.'
                )

    def has(self, part: str) -> bool:
        """Returns whether the run has a part, one of `PARTS`."""
        return bool(getattr(self, f'{part}_fraction') or getattr(self, f'{part}_corpus'))


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The architecture of the model and the initial values of its weights."""

    cell: str = setting('rnn', 'Recurrent cell; gru applies the reset gate before the matrix product.', choices=CELLS)
    activation: str = setting('tanh', 'Nonlinearity of the hidden state (rnn only).', choices=ACTIVATIONS)
    hidden_size: int = setting(256, 'H, hidden units per layer.', lowest=1)
    num_layers: int = setting(1, 'L, recurrent layers; each reads the output of the layer below.', lowest=1)
    init_scale: float = setting(0.01, 'Standard deviation of the initial weights.', lowest=0.0)
    forget_bias: float = setting(0.0, 'Initial bias of the forget gate (lstm only).', lowest=-LARGEST_FLOAT)
    embedding_size: int = setting(
        0,
        'E, size of the embedding of a character. 0: the characters themselves, one-hot, as in the book.',
        lowest=0,
    )
    embedding_scale: float = setting(
        0.1, 'Standard deviation of the initial vectors of characters (with --embedding_size).', lowest=0.0
    )
    tie_embeddings: bool = setting(
        False,
        'The output layer uses the vectors of characters, too (with --embedding_size): fewer weights, and better on '
        'text that the model has not seen.',
    )
    input_dropout: float = setting(
        0.0,
        'Fraction of each vector of a character that is dropped in training, the same parts in all steps of a window '
        '(with --embedding_size). 0: off.',
        lowest=0.0,
        below=1.0,
    )
    dropout: float = setting(
        0.0, 'Fraction of the outputs of each layer that is dropped in training. 0: off.', lowest=0.0, below=1.0
    )

    def __post_init__(self):
        check_fields(self)
        self._check_cell()
        self._check_embedding()

    def _check_embedding(self) -> None:
        """Raises `InputError` for a setting that a model without embeddings would ignore."""
        for name in ('embedding_scale', 'tie_embeddings', 'input_dropout'):
            value = getattr(self, name)
            if not self.embedding_size and value != getattr(ModelConfig, name):
                raise InputError(
                    f'{name}={value} needs vectors of characters, but embedding_size=0: set --embedding_size, such as '
                    f'to 256, or leave --{name} out.'
                )

    def _check_cell(self) -> None:
        """Raises `InputError` for a setting that the cell would ignore."""
        if self.activation != ModelConfig.activation and self.cell != 'rnn':
            raise InputError(
                f'activation={self.activation!r} does not go with cell={self.cell!r}, whose activations are fixed: '
                f"leave activation out, or use cell='rnn'."
            )
        if self.forget_bias and self.cell != 'lstm':
            raise InputError(
                f'forget_bias={self.forget_bias} does not go with cell={self.cell!r}, which does not have a forget '
                f"gate: leave forget_bias at 0, or use cell='lstm'."
            )


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """Optimisation, and how often a run saves, evaluates and samples."""

    num_epochs: int = setting(250, 'Total epochs, counting those already trained in run_dir.', lowest=1)
    max_seconds: int = setting(
        0,
        'Seconds after which training ends, within an epoch, too, unless --num_epochs ends it before; --schedule falls '
        'to that end. Such a run is not repeatable bit for bit. 0: no limit.',
        lowest=0,
    )
    optimizer: str = setting('sgd', 'Optimizer.', choices=OPTIMIZERS)
    learning_rate: float = setting(
        100.0,
        'Initial learning rate. 100 is for sgd with --clip_norm=0.01; adam needs about 0.003.',
        lowest=0.0,
    )
    momentum: float = setting(0.0, 'Momentum (sgd and rmsprop only).', lowest=0.0, below=1.0)
    weight_decay: float = setting(0.0, 'Weight decay (adamw only), such as 0.01.', lowest=0.0)
    schedule: str = setting(
        'constant',
        'Learning rate over the run: constant; cosine, down to 0; exponential, down to a hundredth.',
        choices=SCHEDULES,
    )
    warmup_steps: int = setting(0, 'Minibatches over which the learning rate rises from 0.', lowest=0)
    clip_norm: float = setting(
        0.01, 'Largest L2 norm of all gradients together. 0: no clipping.', lowest=0.0, highest=_LARGEST_NORM
    )
    average_from_epoch: int = setting(
        0,
        'From this epoch on, evaluate, sample and export the mean of the weights after each minibatch (Polyak and '
        'Juditsky 1992). Training goes on with the weights themselves. 0: off.',
        lowest=0,
    )
    init_from: str = setting(
        '',
        'Run directory, or version directory of an exported model, whose weights a new run begins with. Those that '
        'belong to characters follow them; new characters begin as in any new run. The model must have the same shape.',
    )
    seed: int = setting(0, 'Random seed of the initial weights, the order of the windows and dropout.', lowest=0)
    bptt_windows: int = setting(
        1,
        'Consecutive windows through which the gradient flows back. 1: the state is detached before each window, as in '
        'the book.',
        lowest=1,
    )
    state_reset_rate: float = setting(
        0.0,
        'Fraction of the windows, chosen at random, whose state is zero before them (consecutive only), so that the '
        'model also learns to start. 0: only the first windows of an epoch, as in the book.',
        lowest=0.0,
        below=1.0,
    )
    strategy: str = setting(
        'auto',
        'one_device; mirrored: the GPUs of this machine share each minibatch; multi_worker: the workers that the '
        'environment variable TF_CONFIG names do. auto: multi_worker if TF_CONFIG names several, else one_device.',
        choices=STRATEGIES,
    )
    worker_timeout: int = setting(
        60,
        'Seconds after which a worker that can no longer be reached ends the others (multi_worker only). At the start '
        'the workers wait for each other without a limit.',
        lowest=1,
    )
    jit: bool = setting(True, 'Compile with XLA: faster, and equal up to rounding.')
    checkpoint_every: str = setting('30s', f'How often to save. {UNITS}.')
    log_every: str = setting(
        '',
        f'How often the curves get a point, besides each evaluation: the mean since the point before. {UNITS}. Their '
        'axis counts epochs if this does, else steps. Default: 1ep, or 1000 if an epoch is longer or --evaluate_every '
        'is not in epochs.',
    )
    profile_steps: str = setting(
        '',
        'FIRST:LAST, the steps to profile for TensorBoard, counted from 0. The profile includes all steps of the same '
        'compiled call, up to 32. On a GPU, XLA compiles another program while it is profiled. '
        '"pip install tensorboard-plugin-profile" shows it.',
    )
    evaluate_every: str = setting(
        '1ep', f'How often to evaluate on the held-out part, and at the end of the run. {UNITS}. 0: never.'
    )
    max_evaluate_characters: int = setting(
        0, 'Evaluate on only this many characters from the start of the held-out part. 0: all.', lowest=0
    )
    early_stopping_patience: int = setting(
        0,
        'Stop after this many evaluations without a lower held-out perplexity. 0: never. The best weights are kept in '
        'either case.',
        lowest=0,
    )
    sample_every: str = setting('50ep', f'How often to generate samples, and at the end. {UNITS}. 0: never.')
    sample_length: int = setting(50, 'Characters that a sample adds to its prefix.', lowest=0, highest=_LONGEST_SAMPLE)
    prefixes: tuple[str, ...] = setting(
        ('分开', '不分开'),
        'Prefix of a sample, used unchanged. --prefixes= alone: no samples. If the text does not contain the '
        'characters of the default prefixes, its first word is used instead.',
    )

    def __post_init__(self):
        check_fields(self)
        self._check_optimizer()
        parse_steps(self.profile_steps)
        self._check_intervals()
        if not all(self.prefixes):
            raise InputError(
                f'prefixes={list(self.prefixes)} contains an empty prefix: each needs one character or more.'
            )

    def interval(self, name: str) -> Interval:
        """Returns the value of the field `name`, such as `evaluate_every`."""
        return Interval.parse(name, getattr(self, name))

    def default_log_every(self, steps_per_epoch: int) -> str:
        """Returns the value that replaces an empty `log_every`."""
        evaluates_within_epochs = self.interval('evaluate_every') and not self.interval('evaluate_every').epochs
        return f'{_LONG_EPOCH}' if evaluates_within_epochs or steps_per_epoch > _LONG_EPOCH else '1ep'

    def _check_intervals(self) -> None:
        for name in ('checkpoint_every', 'log_every'):
            if getattr(self, name) and not self.interval(name):
                raise InputError(f'{name}=0 would never do it: give a number of steps, of seconds or of epochs.')
        self.interval('sample_every')
        evaluation = self.interval('evaluate_every')
        if self.log_every.endswith('ep') and evaluation and not evaluation.epochs:
            raise InputError(
                f'evaluate_every={self.evaluate_every} evaluates within epochs, but log_every={self.log_every} counts '
                f'only whole ones: give both in epochs, or neither. A run keeps the unit of its log_every.'
            )
        if not evaluation and self.early_stopping_patience:
            raise InputError(
                f'early_stopping_patience={self.early_stopping_patience} counts evaluations, but evaluate_every=0 '
                f'makes none. Set --evaluate_every, such as to 1ep, or --early_stopping_patience to 0.'
            )

    def _check_optimizer(self) -> None:
        adaptive = self.optimizer != 'sgd'
        if adaptive and self.learning_rate > _LARGEST_ADAPTIVE_RATE:
            raise InputError(
                f'learning_rate={self.learning_rate} is too large for optimizer={self.optimizer}, whose steps are about'
                f' that large: set --learning_rate to {_LARGEST_ADAPTIVE_RATE} or less, such as 0.003.'
            )
        if self.momentum and self.optimizer not in ('sgd', 'rmsprop'):
            raise InputError(f'momentum={self.momentum} is for optimizer=sgd or rmsprop, not for {self.optimizer}.')
        if bool(self.weight_decay) != (self.optimizer == 'adamw'):
            raise InputError(
                f'weight_decay={self.weight_decay} with optimizer={self.optimizer}: weight decay and adamw belong '
                f'together. Give both, such as --optimizer=adamw --weight_decay=0.01, or neither.'
            )


# Settings that may change when a run resumes: they do not affect an update. The corpora are compared by their texts.
MAY_CHANGE = frozenset(
    {
        'corpus',
        'valid_corpus',
        'test_corpus',
        'num_epochs',
        'checkpoint_every',
        'profile_steps',
        'evaluate_every',
        'early_stopping_patience',
        'sample_every',
        'strategy',
        'worker_timeout',
        'sample_length',
        'prefixes',
    }
)


@dataclasses.dataclass(frozen=True)
class Config:
    """All settings of a run, in three groups. Field names are distinct; each is also the name of a flag."""

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()

    def __post_init__(self):
        """Raises `InputError` for a setting that requires another group's setting."""
        if self.training.bptt_windows > 1 and self.data.sampling != 'consecutive':
            raise InputError(
                f'bptt_windows={self.training.bptt_windows} needs consecutive windows, but sampling='
                f'{self.data.sampling} shuffles them. Set --sampling=consecutive, or leave --bptt_windows at 1.'
            )
        if self.training.state_reset_rate and self.data.sampling != 'consecutive':
            raise InputError(
                f'state_reset_rate={self.training.state_reset_rate} needs consecutive windows: with sampling='
                f'{self.data.sampling} the state is zero before every window. Set --sampling=consecutive, or leave '
                f'--state_reset_rate at 0.'
            )
        for name in ('evaluate_every', 'max_evaluate_characters', 'early_stopping_patience'):
            value = getattr(self.training, name)
            if not self.data.has('valid') and value not in (0, '0', getattr(TrainingConfig, name)):
                raise InputError(
                    f'{name}={value} needs a held-out part to evaluate, but valid_fraction=0 holds out nothing. Set '
                    f'--valid_fraction, such as to 0.1, or --valid_corpus, or leave --{name} out.'
                )

    def to_dict(self) -> dict:
        """Returns `{field: value}` over the three groups, ready for JSON."""
        return {name: value for group in dataclasses.asdict(self).values() for name, value in group.items()}

    @classmethod
    def from_dict(cls, values: dict) -> 'Config':
        """Returns a config with these values and defaults for the rest. Raises `InputError` for a bad name or value."""
        return cls().replace(values)

    def replace(self, values: dict) -> 'Config':
        """Returns a copy with new values for the named fields. Raises `InputError` for a bad name or value."""
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
    """Returns `{field: (old value, new value)}` for the fields that differ and must not change when a run resumes."""
    then, now = old.to_dict(), new.to_dict()
    # A falling schedule depends on the length of the run.
    may_change = MAY_CHANGE if old.training.schedule == 'constant' else MAY_CHANGE - {'num_epochs'}
    if not old.training.log_every or not new.training.log_every or _same_axis(old, new):
        may_change |= {'log_every'}
    return {name: (then[name], now[name]) for name in then if name not in may_change and then[name] != now[name]}


def _same_axis(one: Config, other: Config) -> bool:
    """Returns whether the axis of the curves of both counts epochs, or of both steps."""
    intervals = (config.training.interval('log_every') for config in (one, other))
    return len({bool(interval.epochs) for interval in intervals}) == 1


def _like(default, value):
    """Converts `value` to a tuple if the field holds one: JSON and flags hold lists, an empty flag `['']`."""
    return (() if value == [''] else tuple(value)) if isinstance(default, tuple) else value
