"""What the experiments run: group -> runs, each a name and flags of pipeline.train."""

import dataclasses
import pathlib
import re

ROOT = pathlib.Path(__file__).parent.parent
PRESETS = pathlib.Path('pipeline/presets')  # as a user names them, in the checkout's root
SECTION = ('--corpus=jaychou', '--max_characters=10000')
# Points enough for a curve, and not a word of a corpus that is not ours to print.
SILENT = ('--sample_every=10', '--sample_length=0', '--prefixes=')
HIDDEN_SIZES, RATES, NUM_STEPS = (64, 256, 512), (10, 100, 1000), (16, 35, 70)
SEEDS, CELL_SEEDS = range(5), range(3)
CLIPPING_RATES = (100, 10, 1, 0.1)
BPTT_WINDOWS = (1, 2, 4, 8)
RNN_ALIKE = ('--cell=rnn', '--learning_rate=0.005', '--num_epochs=10')  # the preset's rate throws a plain RNN out

_OF_THE_TEXT = re.compile(r'--(corpus|encoding|newlines|max_characters|valid_fraction|min_count)=')


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of pipeline.train, whose log is called `name`."""

    name: str
    flags: tuple[str, ...]
    keeps_losses: bool = False
    """The log also gets the loss and the gradient norm of each epoch, which TensorBoard has but no line says."""

    @property
    def command(self) -> str:
        """As a user types it in the checkout's root."""
        return ' '.join(['python', '-m', 'pipeline.train', *self.flags])


def groups(root: pathlib.Path = ROOT) -> dict[str, list[Run]]:
    """The plan, in the order of running: what is told by its seconds comes last."""
    return {
        'seeds': _seeds(),
        'cells': [_cell(cell, seed) for cell in ('gru', 'lstm') for seed in CELL_SEEDS],
        'relu': [_section(f'relu-{s}', f'--sampling={s}', '--activation=relu') for s in ('random', 'consecutive')],
        'clipping': [_clipping_off(rate) for rate in CLIPPING_RATES],
        'samples': [_samples()],
        'heldout': _held_out(root),
        'bptt': [_bptt(windows, schedule) for schedule in ('constant', 'cosine') for windows in BPTT_WINDOWS],
        'grid': [_grid(h, rate, t) for h in HIDDEN_SIZES for rate in RATES for t in NUM_STEPS if grid_has(rate, t)],
    }


def grid_has(rate: int, num_steps: int) -> bool:
    """A rate of 1000 is hopeless: one T shows it."""
    return rate < 1000 or num_steps == 35


def grid_name(hidden_size: int, rate: int, num_steps: int) -> str:
    return f'grid-h{hidden_size}-rate{rate}-t{num_steps}'


def bptt_name(windows: int, schedule: str) -> str:
    return f'bptt-{windows}' if schedule == 'constant' else f'bptt-{windows}-{schedule}'


def _section(name: str, *flags: str, keeps_losses: bool = False) -> Run:
    return Run(name, (*SECTION, *flags, *SILENT), keeps_losses)


def _seeds() -> list[Run]:
    return [
        _section(f'{sampling}-seed{seed}', f'--sampling={sampling}', f'--seed={seed}')
        for sampling in ('random', 'consecutive')
        for seed in SEEDS
    ]


def _cell(cell: str, seed: int) -> Run:
    return Run(f'{cell}-seed{seed}', (f'--flagfile={PRESETS / cell}.flags', f'--seed={seed}', *SILENT))


def _clipping_off(rate: float) -> Run:
    return _section(f'clipping-off-rate{rate}', '--clip_norm=0', f'--learning_rate={rate}', keeps_losses=True)


def _samples() -> Run:
    flags = ('--corpus=lyrics', '--sample_every=1', '--sample_length=27', '--prefixes=不分开')
    return Run('samples', flags)


def _bptt(windows: int, schedule: str) -> Run:
    flags = ('--sampling=consecutive', f'--bptt_windows={windows}', f'--schedule={schedule}')
    return _section(bptt_name(windows, schedule), *flags)


def _grid(hidden_size: int, rate: int, num_steps: int) -> Run:
    flags = (f'--hidden_size={hidden_size}', f'--learning_rate={rate}', f'--num_steps={num_steps}')
    return _section(grid_name(hidden_size, rate, num_steps), *flags)


def _held_out(root: pathlib.Path) -> list[Run]:
    """The best preset, the section's cell with like training, and with the section's own, on the same text.

    Their logs have every epoch, so that they can be compared by their seconds.
    """
    preset = PRESETS / 'best.flags'
    of_the_text = [line for line in (root / preset).read_text('utf-8').splitlines() if _OF_THE_TEXT.match(line)]
    silent = ('--sample_every=1', *SILENT[1:])
    return [
        *(Run(f'heldout-best-seed{seed}', (f'--flagfile={preset}', f'--seed={seed}', *silent)) for seed in CELL_SEEDS),
        Run('heldout-rnn-alike', (f'--flagfile={preset}', *RNN_ALIKE, *silent)),
        Run('heldout-rnn', (*of_the_text, *silent)),
    ]
