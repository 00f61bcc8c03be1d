"""The report of benchmarks.training: tables, figures for JSON, and a picture."""

import pathlib
from collections.abc import Mapping, Sequence

from benchmarks import turns

OWN = 'charrnn'
_COLORS = ('#0072b2', '#86b8e0', '#cc79a7', '#d55e00', '#e69f00', '#009e73')  # Okabe and Ito's


class Report:
    """Grows case by case."""

    def __init__(self, cpu: str, vocabulary_size: int, num_characters: int, missing: Sequence[str]):
        self.figures: dict = {
            'cpu': cpu,
            'vocabulary_size': vocabulary_size,
            'num_characters': num_characters,
            'missing': list(missing),
            'cases': {},
        }

    def add(self, case: str, operations: int, rounds: Sequence[turns.Round], rates: Mapping[str, float]) -> None:
        """Adds a case: the operations of an epoch, the rounds, and the rates of matrix products before them."""
        seconds = turns.median(rounds, OWN, 'epoch')
        self.figures['cases'][case] = {
            'operations': operations,
            'product_rates': dict(rates),
            'roofline': operations / max(rates.values()) / seconds,
            'roofline_own': operations / rates['tensorflow'] / seconds,
            'rounds': [dict(one) for one in rounds],
        }

    def markdown(self) -> str:
        """Returns the report with its tables."""
        figures = self.figures
        lines = [
            f'CPU: {figures["cpu"]}. {figures["num_characters"]:,} characters, V = {figures["vocabulary_size"]:,}. '
            'Ratios of the seconds of an epoch in the same round: median (lowest to highest).',
            '',
            *(['Missing: ' + ', '.join(figures['missing']) + '.', ''] if figures['missing'] else []),
            *self._versions(),
            '',
            *self._table('ratio', self._ratio),
            '',
            *self._table('seconds an epoch, median', lambda case, name: f'{self._median(case, name, "epoch"):.3f}'),
            '',
            *self._rooflines(),
            '',
            *self._table('perplexity', lambda case, name: f'{self._median(case, name, "perplexity"):.2f}'),
            '',
            *self._table(
                'seconds from the start to the first epoch, without an epoch',
                lambda case, name: f'{self._median(case, name, "start"):.1f}',
            ),
            '',
            *self._table('peak memory, MB', lambda case, name: f'{self._median(case, name, "memory") / 1e6:.0f}'),
        ]
        return '\n'.join(lines) + '\n'

    def lines(self, case: str) -> str:
        """Returns the ratios of one case."""
        found = self.figures['cases'][case]
        ratios = [f'{OWN} / {name}: {self._ratio(case, name)}' for name in self._names if name != OWN]
        epoch = self._median(case, OWN, 'epoch')
        return '\n'.join([f'{case}: {epoch:.4f} s an epoch, {found["roofline"]:.0%} of the roofline', *ratios])

    def draw(self, path: pathlib.Path) -> None:
        """Draws the seconds of an epoch as bars, those of this project as 1. Does nothing without matplotlib."""
        try:
            from matplotlib.figure import Figure
        except ImportError:
            return
        figure = Figure(figsize=(9, 3.4), layout='constrained', facecolor='white')
        axes = figure.subplots()
        cases, names = list(self.figures['cases']), self._names
        width = 0.85 / len(names)
        for number, name in enumerate(names):
            heights = [self._median(case, name, 'epoch') / self._median(case, OWN, 'epoch') for case in cases]
            places = [place + (number - (len(names) - 1) / 2) * width for place in range(len(cases))]
            axes.bar(places, heights, width, label=name, color=_COLORS[number % len(_COLORS)])
        axes.set_xticks(range(len(cases)), cases, fontsize=8, rotation=30, ha='right')
        axes.set_ylabel('time of an epoch, charrnn = 1')
        axes.spines[['top', 'right']].set_visible(False)
        figure.legend(loc='outside right center', frameon=False, fontsize=8)
        figure.savefig(path, dpi=110, metadata={'Software': None})

    @property
    def _names(self) -> list[str]:
        rounds = next(iter(self.figures['cases'].values()))['rounds']
        return list(rounds[0])

    def _median(self, case: str, name: str, figure: str) -> float:
        return turns.median(self.figures['cases'][case]['rounds'], name, figure)

    def _ratio(self, case: str, name: str) -> str:
        return turns.ratio(self.figures['cases'][case]['rounds'], OWN, name, 'epoch')

    def _versions(self) -> list[str]:
        (case, *_) = self.figures['cases'].values()
        return [f'- {name}: {found["version"]}' for name, found in case['rounds'][0].items()]

    def _table(self, title: str, cell) -> list[str]:
        names = [name for name in self._names if title != 'ratio' or name != OWN]
        head = [f'| {title} | ' + ' | '.join(names) + ' |', '| --- |' + ' --- |' * len(names)]
        rows = [
            f'| {case} | ' + ' | '.join(cell(case, name) for name in names) + ' |' for case in self.figures['cases']
        ]
        return head + rows

    def _rooflines(self) -> list[str]:
        """Returns a table of the operations and the share of the roofline."""
        head = [
            "| roofline | GFLOP an epoch | best product, GFLOP/s | share | TensorFlow's product, GFLOP/s | share |",
            '| --- | --- | --- | --- | --- | --- |',
        ]
        return head + [
            f'| {case} | {one["operations"] / 1e9:.1f} | {max(one["product_rates"].values()) / 1e9:.0f} | '
            f'{one["roofline"]:.0%} | {one["product_rates"]["tensorflow"] / 1e9:.0f} | {one["roofline_own"]:.0%} |'
            for case, one in self.figures['cases'].items()
        ]
