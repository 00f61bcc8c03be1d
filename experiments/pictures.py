"""Draws the curves of docs/experiments.md, docs/experiments/*.png, from the logs. The same logs give the same bytes.

Only the functions that draw import matplotlib, so that tables and tests do not need it.
"""

import dataclasses
import math
import pathlib
import statistics
from collections.abc import Iterable, Sequence

from data.errors import InputError
from experiments import plan, report
from experiments.logs import Log

FOLDER = plan.ROOT / 'docs' / 'experiments'

# Okabe and Ito's colours for the colour-blind, and shades of one hue for ordered values.
_BLUE, _RED, _GREEN, _PINK = '#0072b2', '#d55e00', '#009e73', '#cc79a7'
_STEPS = ('#86b8e0', '#4a8cc2', '#1f5f99', '#0b2f57')
_INK, _GRID = '#333333', '#dddddd'
_PANEL, _LEGEND = (3.0, 2.9), 1.7  # inches
_HIGHEST = 2000.0  # perplexity: about that of a uniform model, V

Logs = dict[str, Log]


@dataclasses.dataclass(frozen=True)
class Line:
    """A curve, with a band between `low` and `high` if given. The style `o` draws only points."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    color: str
    style: str = '-'
    low: Sequence[float] = ()
    high: Sequence[float] = ()


@dataclasses.dataclass(frozen=True)
class Panel:
    """One pair of axes; `title` is empty if the picture has only one panel."""

    title: str
    lines: list[Line]


def draw_all(logs: Logs) -> None:
    """Draws every picture whose logs exist.

    Raises:
      InputError: matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise InputError("pictures need matplotlib: make experiments, or pip install '.[experiments]'.") from error
    FOLDER.mkdir(exist_ok=True)
    for name, (panels, x, y, limits) in _pictures(logs).items():
        if all(panel.lines for panel in panels):
            _draw(FOLDER / f'{name}.png', panels, x, y, limits)


def _pictures(logs: Logs) -> dict[str, tuple[list[Panel], str, str, tuple[float, float] | None]]:
    """`{name: (panels, x label, y label, limits of y)}`"""
    common = ('epoch', 'perplexity', (1.0, _HIGHEST))
    return {
        'seeds': ([Panel(sampling, _seeds(logs, sampling)) for sampling in report.SECTION], *common),
        'cells': ([Panel('', _cells(logs))], *common),
        'relu': ([Panel(sampling, _relu(logs, sampling)) for sampling in report.SECTION], *common),
        'clipping': ([Panel('', _clipping(logs))], 'epoch', 'loss, nats a character', None),
        'bptt': ([Panel(f'{schedule} rate', _bptt(logs, schedule)) for schedule in ('constant', 'cosine')], *common),
        'grid': ([Panel(f'T = {t}', _grid(logs, t)) for t in plan.NUM_STEPS], *common),
    }


def _seeds(logs: Logs, sampling: str) -> list[Line]:
    ours = _band(logs, [f'{sampling}-seed{seed}' for seed in plan.SEEDS], 'ours: mean, lowest to highest', _BLUE)
    return [*ours, Line('the section', report.EPOCHS, report.SECTION[sampling], _RED, 'o')] if ours else []


def _cells(logs: Logs) -> list[Line]:
    lines = []
    for cell, color, seeds in (
        ('gru', _BLUE, plan.CELL_SEEDS), ('lstm', _RED, plan.CELL_SEEDS), ('consecutive', _GREEN, plan.SEEDS)
    ):  # fmt: skip
        lines += _band(logs, [f'{cell}-seed{seed}' for seed in seeds], {'consecutive': 'rnn'}.get(cell, cell), color)
    return lines


def _relu(logs: Logs, sampling: str) -> list[Line]:
    named = (('tanh', f'{sampling}-seed0', _BLUE, '-'), ('ReLU', f'relu-{sampling}', _RED, '--'))
    return [_curve(logs[name], label, color, style) for label, name, color, style in named if name in logs]


def _clipping(logs: Logs) -> list[Line]:
    lines = []
    for rate, color, style in zip(
        plan.CLIPPING_RATES, (_RED, _BLUE, _GREEN, _PINK), ('-', '--', '-.', '-'), strict=True
    ):
        if log := logs.get(f'clipping-off-rate{rate}'):
            x, y = [epoch.number for epoch in log.epochs], [epoch.nats for epoch in log.epochs]
            lines.append(Line(f'no clipping, rate {rate}', x, y, color, style))
            guessing = Line(
                'guessing among all characters', (x[0], x[-1]), [math.log(log.vocabulary_size)] * 2, _INK, ':'
            )
    return [*lines, guessing] if lines else []


def _bptt(logs: Logs, schedule: str) -> list[Line]:
    return [
        _curve(logs[name], f'K = {windows}', color, style)
        for windows, color, style in zip(plan.BPTT_WINDOWS, _STEPS, ('-', '--', '-.', ':'), strict=True)
        if (name := plan.bptt_name(windows, schedule)) in logs
    ]


def _grid(logs: Logs, num_steps: int) -> list[Line]:
    return [
        _curve(logs[name], f'rate {rate}, hidden {hidden}', color, style)
        for rate, style in zip(plan.RATES, ('--', '-'), strict=False)  # 1000 is outside the axis
        for hidden, color in zip(plan.HIDDEN_SIZES, _STEPS[::2] + _STEPS[3:], strict=True)
        if (name := plan.grid_name(hidden, rate, num_steps)) in logs
    ]


def _band(logs: Logs, names: Iterable[str], label: str, color: str) -> list[Line]:
    """Returns the mean of several runs with a band from the lowest to the highest; [] without runs."""
    runs = [logs[name] for name in names if name in logs]
    if not runs:
        return []
    values = [[epoch.perplexity for epoch in epochs] for epochs in zip(*(log.epochs for log in runs), strict=True)]
    mean, low, high = ([function(v) for v in values] for function in (statistics.mean, min, max))
    return [Line(label, [epoch.number for epoch in runs[0].epochs], mean, color, '-', low, high)]


def _curve(log: Log, label: str, color: str, style: str) -> Line:
    return Line(label, [e.number for e in log.epochs], [e.perplexity for e in log.epochs], color, style)


def _draw(path: pathlib.Path, panels: list[Panel], x: str, y: str, limits: tuple[float, float] | None) -> None:
    """Draws one row of panels with a common y axis and legend, on a white background."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context():
        mpl.rcdefaults()  # ignores the user's style, so that the bytes are the same
        mpl.rcParams.update({'font.size': 9, 'text.color': _INK, 'axes.labelcolor': _INK, 'axes.edgecolor': _GRID})
        wide = len(panels) if len(panels) > 1 else 1.6
        figure = Figure(figsize=(_PANEL[0] * wide + _LEGEND, _PANEL[1]), layout='constrained', facecolor='white')
        for axes, panel in zip(figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels, strict=True):
            _draw_panel(axes, panel, x, limits)
        figure.axes[0].set_ylabel(y)
        handles = {
            label: handle
            for axes in figure.axes
            for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        figure.legend(handles.values(), handles.keys(), loc='outside right center', frameon=False, fontsize=8)
        figure.savefig(path, dpi=110, metadata={'Software': None})


def _draw_panel(axes, panel: Panel, x: str, limits: tuple[float, float] | None) -> None:
    from matplotlib.ticker import LogFormatter

    for line in panel.lines:
        if line.style == 'o':
            axes.plot(line.x, line.y, 'o', color=line.color, markersize=5, label=line.label, zorder=3)
        else:
            axes.plot(line.x, line.y, line.style, color=line.color, linewidth=1.8, label=line.label)
        if line.low:
            axes.fill_between(line.x, line.low, line.high, color=line.color, alpha=0.25, linewidth=0)
    axes.set_yscale('log')
    axes.yaxis.set_major_formatter(LogFormatter())
    axes.yaxis.set_minor_formatter(LogFormatter())
    if limits:
        axes.set_ylim(*limits)
    axes.set_xlabel(x)
    axes.set_title(panel.title, fontsize=9)
    axes.grid(color=_GRID, linewidth=0.6)
    axes.spines[['top', 'right']].set_visible(False)
    axes.tick_params(which='both', length=0, colors=_INK)
