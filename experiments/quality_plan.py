"""The plan of docs/quality.md: groups of commands, each with a log. A group trains, then evaluates what it trained."""

import dataclasses

from experiments.plan import PRESETS
from pipeline.config import PARTS

SEEDS = range(5)
NUM_LSTMS = 2  # in place of as many of the GRUs in a mixture
_RUNS = 'runs/quality'
_PRIVATE = '--sample_length=0 --prefixes='  # the corpus may not be printed
_ALL = '--checkpoint=latest --baselines --cache --dynamic'


@dataclasses.dataclass(frozen=True)
class Step:
    """A command, run in the root of the checkout, whose log is called `name`."""

    name: str
    command: str


def groups() -> dict[str, list[Step]]:
    """Returns the plan, in the order of running."""
    return {'jaychou': _jaychou(), 'lyrics': _lyrics(), 'shakespeare': _shakespeare(), 'ptb': _ptb()}


def _train(run: str, flags: str) -> Step:
    return Step(f'{run}-train', f'python -m pipeline.train {flags} --run_dir={_RUNS}/{run}')


def _preset(name: str, flags: str = '') -> str:
    return f'--flagfile={PRESETS / name}.flags {flags}'.strip()


def _evaluate(name: str, runs: list[str], flags: str) -> Step:
    given = ' '.join(f'--run_dir={_RUNS}/{run}' for run in runs)
    return Step(name, f'python -m pipeline.evaluate {given} {flags}')


def _jaychou() -> list[Step]:
    """Two protocols: three parts, and two parts with the constants that the validation part of three chose."""
    three, two = ([f'jaychou-{parts}-{seed}' for seed in SEEDS] for parts in ('three', 'two'))
    steps = [
        _train(run, _preset('best', f'{_PRIVATE}{more} --seed={seed}'))
        for runs, more in ((three, ''), (two, ' --valid_fraction=0'))
        for seed, run in zip(SEEDS, runs, strict=True)
    ]
    for name, flags in (('models', '--checkpoint=latest'), ('all', _ALL)):
        steps.append(_evaluate(f'jaychou-three-{name}', three, flags))
        steps.append(_evaluate(f'jaychou-two-{name}', two, f'{flags} --constants_of={_RUNS}/{three[0]}'))
    steps += _mixed_cells(three, two)
    section = '--corpus=jaychou --valid_fraction=0.1 --test_fraction=0.1 --min_count=2 --num_epochs=30'
    section += ' --sample_every=1ep'
    steps.append(_train('jaychou-section', f'{section} {_PRIVATE}'))
    return [*steps, _evaluate('jaychou-section', ['jaychou-section'], '--baselines')]


def _mixed_cells(three: list[str], two: list[str]) -> list[Step]:
    """The mixture of some of these GRUs with LSTMs; its constants are kept beside the first LSTM of three parts."""
    steps, lstms = [], {}
    for parts, more in (('three', ''), ('two', ' --valid_fraction=0')):
        lstms[parts] = [f'jaychou-{parts}-lstm-{seed}' for seed in range(NUM_LSTMS)]
        for seed, run in enumerate(lstms[parts]):
            flags = f'{_PRIVATE}{more} --cell=lstm --forget_bias=1 --seed={seed}'
            steps.append(_train(run, _preset('best', flags)))
    for name, flags in (('models', '--checkpoint=latest'), ('all', '--checkpoint=latest --baselines')):
        for parts, grus in (('three', three), ('two', two)):
            constants = '' if parts == 'three' else f' --constants_of={_RUNS}/{lstms["three"][0]}'
            runs = [*lstms[parts], *grus[:-NUM_LSTMS]]
            steps.append(_evaluate(f'jaychou-{parts}-cells-{name}', runs, f'{flags}{constants}'))
    return steps


def _lyrics() -> list[Step]:
    return [
        _train('lyrics', _preset('lyrics')),
        _evaluate('lyrics', ['lyrics'], '--checkpoint=latest --baselines --cache --novelty'),
    ]


def _shakespeare() -> list[Step]:
    """Two parts, as nanoGPT; three parts once, whose validation part chooses the rate of dynamic evaluation."""
    steps = []
    large = '--num_layers=2 --hidden_size=512 --dropout=0.5 --learning_rate=0.003 --evaluate_every=5ep'
    large += ' --num_epochs=1000'
    for minutes, flags in (('3', ''), ('30', f'{large} --max_seconds=1800'), ('60', f'{large} --max_seconds=3600')):
        name = f'shakespeare-{minutes}'
        steps.append(_train(name, _preset('shakespeare', flags)))
        steps.append(_evaluate(name, [name], '--checkpoint=latest --baselines --novelty'))
    dynamic = '--checkpoint=latest --dynamic'
    steps.append(_train('shakespeare-three', _preset('shakespeare', '--test_fraction=0.1')))
    steps.append(_evaluate('shakespeare-three', ['shakespeare-three'], dynamic))
    constants = f'--constants_of={_RUNS}/shakespeare-three'
    return [*steps, _evaluate('shakespeare-60-dynamic', ['shakespeare-60'], f'{dynamic} {constants}')]


def _ptb() -> list[Step]:
    evaluations = [
        _evaluate(f'ptb-{part}', ['ptb'], f'--checkpoint=latest --part={part} --baselines') for part in PARTS
    ]
    return [_train('ptb', _preset('ptb')), *evaluations]
