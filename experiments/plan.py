"""The plan of the experiments: groups of runs, each with a name and flags of pipeline.train."""

import dataclasses
import pathlib

ROOT = pathlib.Path(__file__).parent.parent
PRESETS = pathlib.Path('pipeline/presets')  # relative to the root of the checkout
SECTION = ('--corpus=jaychou', '--max_characters=10000')
# Enough points for a curve, and no samples: the corpus may not be printed.
SILENT = ('--sample_every=10ep', '--sample_length=0', '--prefixes=')
HIDDEN_SIZES, RATES, NUM_STEPS = (64, 256, 512), (10, 100, 1000), (16, 35, 70)
SEEDS, CELL_SEEDS = range(5), range(3)
CLIPPING_RATES = (100, 10, 1, 0.1)
BPTT_WINDOWS = (1, 2, 4, 8)


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of pipeline.train, whose log is called `name`."""

    name: str
    flags: tuple[str, ...]

    @property
    def command(self) -> str:
        """The command, to be run in the root of the checkout."""
        return ' '.join(['python', '-m', 'pipeline.train', *self.flags])


def groups() -> dict[str, list[Run]]:
    """Returns the plan in the order of running; groups that report seconds come last."""
    return {
        'seeds': _seeds(),
        'cells': [_cell(cell, seed) for cell in ('gru', 'lstm') for seed in CELL_SEEDS],
        'relu': [_section(f'relu-{s}', f'--sampling={s}', '--activation=relu') for s in ('random', 'consecutive')],
        'clipping': [_clipping_off(rate) for rate in CLIPPING_RATES],
        'samples': [_samples()],
        'bptt': [_bptt(windows, schedule) for schedule in ('constant', 'cosine') for windows in BPTT_WINDOWS],
        'grid': [_grid(h, rate, t) for h in HIDDEN_SIZES for rate in RATES for t in NUM_STEPS if grid_has(rate, t)],
    }


def grid_has(rate: int, num_steps: int) -> bool:
    """Returns whether the grid has this pair: a rate of 1000 diverges, which one T shows."""
    return rate < 1000 or num_steps == 35


def grid_name(hidden_size: int, rate: int, num_steps: int) -> str:
    return f'grid-h{hidden_size}-rate{rate}-t{num_steps}'


def bptt_name(windows: int, schedule: str) -> str:
    return f'bptt-{windows}' if schedule == 'constant' else f'bptt-{windows}-{schedule}'


def _section(name: str, *flags: str) -> Run:
    return Run(name, (*SECTION, *flags, *SILENT))


def _seeds() -> list[Run]:
    return [
        _section(f'{sampling}-seed{seed}', f'--sampling={sampling}', f'--seed={seed}')
        for sampling in ('random', 'consecutive')
        for seed in SEEDS
    ]


def _cell(cell: str, seed: int) -> Run:
    return Run(f'{cell}-seed{seed}', (f'--flagfile={PRESETS / cell}.flags', f'--seed={seed}', *SILENT))


def _clipping_off(rate: float) -> Run:
    return _section(f'clipping-off-rate{rate}', '--clip_norm=0', f'--learning_rate={rate}')


def _samples() -> Run:
    flags = ('--corpus=lyrics', '--sample_every=1ep', '--sample_length=27', '--prefixes=不分开')
    return Run('samples', flags)


def _bptt(windows: int, schedule: str) -> Run:
    flags = ('--sampling=consecutive', f'--bptt_windows={windows}', f'--schedule={schedule}')
    return _section(bptt_name(windows, schedule), *flags)


def _grid(hidden_size: int, rate: int, num_steps: int) -> Run:
    flags = (f'--hidden_size={hidden_size}', f'--learning_rate={rate}', f'--num_steps={num_steps}')
    return _section(grid_name(hidden_size, rate, num_steps), *flags)
