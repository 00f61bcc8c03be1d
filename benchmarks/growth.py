"""How the time of an epoch grows with H, V, T, B and the length of the corpus, beside the operations.

The base is the section's rnn. Each point changes one size. Its expected time is that of the base times its operations
over those of the base, so that a ratio above 1 means that the time grows faster than the operations. The corpus is
random characters: the time does not depend on them. Writes <output>.md, <output>.json and a picture, <output>.png.

  python -m benchmarks.growth --rounds=3
"""

import dataclasses
import json
import pathlib
import statistics
import tempfile

import numpy as np
from absl import flags

from benchmarks import work
from benchmarks.cases import Case
from benchmarks.turns import Contestant
from data import program
from data.files import write_whole
from experiments import commands

_FLAGS = flags.FLAGS


@dataclasses.dataclass(frozen=True)
class Point:
    """The sizes of a run."""

    hidden_size: int = 256
    vocabulary_size: int = 1027
    num_steps: int = 35
    batch_size: int = 32
    num_updates: int = 10
    """Of an epoch; the corpus has `T · B · updates + 1` characters."""

    @property
    def case(self) -> Case:
        return Case('rnn', self.hidden_size, batch_size=self.batch_size, num_steps=self.num_steps)

    @property
    def operations(self) -> int:
        """Of the matrix products of an epoch."""
        return self.case.operations(self.vocabulary_size) * self.num_updates


BASE = Point()
SIZES = {
    'hidden_size': (128, 256, 512, 1024),
    'vocabulary_size': (1027, 2000, 8000),
    'num_steps': (10, 35, 140),
    'batch_size': (32, 64, 128),
    'num_updates': (10, 30, 100),
}
"""The sizes of each field; the others are those of the base."""


def points() -> dict[str, Point]:
    """Returns the base and all other points, by name."""
    changed = {(name, size): dataclasses.replace(BASE, **{name: size}) for name in SIZES for size in SIZES[name]}
    return {'base': BASE} | {f'{name}={size}': one for (name, size), one in changed.items() if one != BASE}


def _seconds(point: Point) -> float:
    """Returns the median seconds of an epoch, measured in a new process."""
    num_characters = point.num_steps * point.batch_size * point.num_updates + 1
    ids = np.random.default_rng(0).integers(0, point.vocabulary_size, num_characters).astype(np.int32)
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / 'work.npz'
        work.write(path, point.case, ids, point.vocabulary_size, work.num_epochs(point.operations))
        return Contestant('charrnn', 'benchmarks.peers.charrnn').measured([str(path)])['epoch']


def _markdown(figures: dict) -> str:
    rows = [
        f'| {name} | {one["operations"] / 1e9:.1f} | {one["seconds"]:.4f} | {one["ratio"]:.2f} |'
        for name, one in figures['points'].items()
    ]
    head = ['| | GFLOP an epoch | s an epoch | measured / expected |', '| --- | --- | --- | --- |']
    return '\n'.join([f'CPU: {figures["cpu"]}. Medians of {figures["rounds"]} rounds.', '', *head, *rows]) + '\n'


def _draw(figures: dict, path: pathlib.Path) -> None:
    """Draws a panel for each size. Does nothing without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    figure = Figure(figsize=(12, 2.8), layout='constrained', facecolor='white')
    found = figures['points']
    for axes, (name, sizes) in zip(figure.subplots(1, len(SIZES)), SIZES.items(), strict=True):
        names = ['base' if size == getattr(BASE, name) else f'{name}={size}' for size in sizes]
        expected = [found[one]['seconds'] / found[one]['ratio'] for one in names]
        axes.loglog(sizes, expected, '--', color='#999999', label='by its operations')
        axes.loglog(sizes, [found[one]['seconds'] for one in names], 'o-', color='#0072b2', label='measured')
        axes.set_xlabel(name)
        axes.set_xticks(sizes, [f'{size:,}' for size in sizes], fontsize=7)
        axes.set_xticks([], minor=True)
        axes.spines[['top', 'right']].set_visible(False)
    figure.axes[0].set_ylabel('seconds an epoch')
    figure.axes[0].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=110, metadata={'Software': None})


def main() -> None:
    found: dict[str, list[float]] = {name: [] for name in points()}
    for number in range(_FLAGS.rounds):
        for name, point in points().items():
            found[name].append(_seconds(point))
            print(f'round {number + 1}, {name}: {found[name][-1]:.4f} s an epoch', flush=True)
    seconds = {name: statistics.median(all_rounds) for name, all_rounds in found.items()}
    per_operation = seconds['base'] / BASE.operations
    figures = {
        'cpu': commands.cpu(),
        'rounds': _FLAGS.rounds,
        'points': {
            name: {
                'operations': point.operations,
                'seconds': seconds[name],
                'rounds': found[name],
                'ratio': seconds[name] / (per_operation * point.operations),
            }
            for name, point in points().items()
        },
    }
    output = pathlib.Path(_FLAGS.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_whole(output.with_suffix('.json'), json.dumps(figures, indent=1))
    write_whole(output.with_suffix('.md'), _markdown(figures))
    _draw(figures, output.with_suffix('.png'))
    print(_markdown(figures))


if __name__ == '__main__':
    flags.DEFINE_integer('rounds', 3, 'Runs of each point.', lower_bound=1)
    flags.DEFINE_string('output', 'build/growth', 'Path of the report, without .md, .json and .png.')
    program.run(main)
