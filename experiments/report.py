"""Renders the tables of docs/experiments.md from the logs, between its markers; the prose is written by hand."""

import itertools
import math
import re
import statistics
from collections.abc import Callable, Iterable

from data.errors import InputError
from experiments import plan
from experiments.logs import Epoch, Log

DOCUMENT = plan.ROOT / 'docs' / 'experiments.md'
EPOCHS = (50, 100, 150, 200, 250)
CELL_EPOCHS = (40, 80, 120, 160)
SECTION = {'random': (69.88, 9.01, 2.70, 1.53, 1.31), 'consecutive': (60.02, 7.08, 1.99, 1.28, 1.16)}
# The book's PyTorch port at epoch 160. Its text still has 1.44 for the GRU, from a formula that it later corrected.
PORT = {'gru': 1.815, 'lstm': 4.27}

_BLOCK = re.compile(r'(<!-- table: (\w+) -->\n)(?:(?!<!-- ).*\n)*(<!-- end -->)')
_FIRST_EPOCHS = (1, 2, 3, 4, 5, 10, 20, 50)
_LEVELS = (1000, 500, 200, 100, 50, 20, 10, 5, 3, 2, 1.5)
_LONGEST_SAMPLE = 30  # characters
_LARGEST_PLAIN = 100_000

Logs = dict[str, Log]


def update(logs: Logs) -> None:
    """Renders the document in place."""
    DOCUMENT.write_text(render(DOCUMENT.read_text('utf-8'), tables(logs)), 'utf-8')


def tables(logs: Logs) -> dict[str, str]:
    """Returns the tables of the document, by name."""
    return {name: table(logs) for name, table in TABLES.items()}


def render(document: str, rendered: dict[str, str]) -> str:
    """Returns the document with the `rendered` tables between the markers of their names; the rest is unchanged.

    Raises:
      InputError: the markers in the document do not match the tables.
    """
    names = [match[2] for match in _BLOCK.finditer(document)]
    if sorted(names) != sorted(rendered):
        raise InputError(f'the document has markers for {sorted(names)}; it needs one for each of {sorted(rendered)}.')
    return _BLOCK.sub(lambda match: f'{match[1]}{rendered[match[2]]}\n{match[3]}', document)


def seeds(logs: Logs) -> str:
    rows = []
    for sampling, printed in SECTION.items():
        runs = [log for seed in plan.SEEDS if (log := logs.get(f'{sampling}-seed{seed}'))]
        if runs:
            rows.append([f'{sampling}, the section (one run)', *map(_number, printed)])
            rows.append([f'{sampling}, ours ({len(runs)} seeds)', *(_spread(runs, epoch) for epoch in EPOCHS)])
    return _table('seeds', ['', *EPOCHS], rows)


def cells(logs: Logs) -> str:
    rows = []
    for cell, printed in PORT.items():
        runs = {name: logs[name] for seed in plan.CELL_SEEDS if (name := f'{cell}-seed{seed}') in logs}
        for name, log in runs.items():
            rows.append([_link(name), *_at(log, CELL_EPOCHS), _seconds(log)])
        if runs:
            rows.append([f'{cell}, mean', *(_spread(runs.values(), epoch) for epoch in CELL_EPOCHS), ''])
            rows.append([f"{cell}, the book's PyTorch port", '', '', '', _number(printed), ''])
    return _table('cells', ['', *CELL_EPOCHS, 's/epoch'], rows)


def relu(logs: Logs) -> str:
    names = {f'{s}, {a}': f'{n}' for s in SECTION for a, n in (('tanh', f'{s}-seed0'), ('ReLU', f'relu-{s}'))}
    rows = [[_link(name, label), *_at(logs[name], EPOCHS)] for label, name in names.items() if name in logs]
    return _table('relu', ['', *EPOCHS], rows)


def clipping(logs: Logs) -> str:
    rows = []
    for rate, (name, log) in _clipping_off(logs).items():
        norm = f'{max(epoch.norm or 0 for epoch in log.epochs):.3g}'
        rows.append([_link(name, f'off, {rate}'), *_at(log, EPOCHS), _lowest(log), _first_worse(log), norm])
    if rows and (section := logs.get('random-seed0')):
        rows.insert(
            0, [_link('random-seed0', '0.01, 100'), *_at(section, EPOCHS), _lowest(section), _first_worse(section), '']
        )
    header = ['clipping, rate', *EPOCHS, 'lowest', 'first epoch worse than guessing', 'largest gradient norm']
    return _table('clipping', header, rows)


def _first_worse(log: Log) -> str:
    """Returns the first logged epoch whose loss is above that of a uniform model."""
    worse = (epoch.number for epoch in log.epochs if epoch.nats > math.log(log.vocabulary_size))
    return str(next(worse, 'never'))


def clipping_first(logs: Logs) -> str:
    runs = [log for _, log in _clipping_off(logs).values()]
    header = ['epoch', *(f'rate {rate}: nats, norm' for rate in _clipping_off(logs))]
    rows = []
    for epoch in _FIRST_EPOCHS if runs else ():
        found = [next(one for one in log.epochs if one.number == epoch) for log in runs]
        rows.append([epoch, *(f'{one.nats:.4g}, {one.norm:.3g}' for one in found)])
    return _table('clipping', header, rows)


def _bptt(logs: Logs, schedule: str) -> str:
    names = {windows: plan.bptt_name(windows, schedule) for windows in plan.BPTT_WINDOWS}
    rows = [
        [_link(name, str(windows)), *_at(logs[name], EPOCHS), _lowest(logs[name]), _seconds(logs[name])]
        for windows, name in names.items()
        if name in logs
    ]
    return _table('bptt', ['K', *EPOCHS, 'lowest', 's/epoch'], rows)


def samples(logs: Logs) -> str:
    rows = []
    epochs = logs['samples'].epochs if 'samples' in logs else ()
    for _, passed in itertools.groupby(_first_below(epochs), key=lambda pair: pair[1].number):
        *_, (level, epoch) = passed
        rows.append([f'{level:g}', epoch.number, _number(epoch.perplexity), (epoch.sample or '')[:_LONGEST_SAMPLE]])
    return _table('samples', ['below', 'epoch', 'perplexity', 'sample'], rows)


def _first_below(epochs: Iterable[Epoch]) -> list[tuple[float, Epoch]]:
    """Returns each level that the run reaches, with the first epoch whose perplexity is below it."""
    found = ((level, next((e for e in epochs if e.perplexity < level), None)) for level in _LEVELS)
    return [(level, epoch) for level, epoch in found if epoch]


def grid(logs: Logs) -> str:
    rows = []
    for hidden_size, num_steps in itertools.product(plan.HIDDEN_SIZES, plan.NUM_STEPS):
        names = [plan.grid_name(hidden_size, rate, num_steps) for rate in plan.RATES]
        runs = [logs[name] for name in names if name in logs]
        if runs:
            cells = [_link(name, _number(logs[name].perplexity(250))) if name in logs else '' for name in names]
            rows.append([hidden_size, num_steps, *cells, f'{statistics.median(log.seconds for log in runs):.2f}'])
    return _table('grid', ['hidden', 'T', *(f'rate {rate}' for rate in plan.RATES), 's/epoch'], rows)


TABLES: dict[str, Callable[[Logs], str]] = {
    'seeds': seeds,
    'cells': cells,
    'relu': relu,
    'clipping': clipping,
    'clipping_first': clipping_first,
    'samples': samples,
    'bptt': lambda logs: _bptt(logs, 'constant'),
    'bptt_cosine': lambda logs: _bptt(logs, 'cosine'),
    'grid': grid,
}


def _clipping_off(logs: Logs) -> dict[float, tuple[str, Log]]:
    """`{rate: (name, log)}`"""
    names = {rate: f'clipping-off-rate{rate}' for rate in plan.CLIPPING_RATES}
    return {rate: (name, logs[name]) for rate, name in names.items() if name in logs}


def _at(log: Log, epochs: Iterable[int]) -> list[str]:
    return [_number(log.perplexity(epoch)) for epoch in epochs]


def _lowest(log: Log) -> str:
    best = min(log.epochs, key=lambda epoch: epoch.perplexity)
    return f'{_number(best.perplexity)} ({best.number})' if math.isfinite(best.perplexity) else 'inf'


def _spread(runs: Iterable[Log], epoch: int) -> str:
    values = [log.perplexity(epoch) for log in runs]
    if any(map(math.isnan, values)):
        return ''
    return f'{_number(statistics.mean(values))} ({_number(min(values))} to {_number(max(values))})'


def _number(value: float) -> str:
    if math.isnan(value):
        return ''
    return f'{value:.0e}' if _LARGEST_PLAIN < value < math.inf else f'{value:.2f}'


def _seconds(log: Log) -> str:
    return f'{log.seconds:.2f}'


def _link(name: str, label: str | None = None) -> str:
    return f'[{label or name}](logs/experiments/{name}.log)'


def _table(group: str, header: list, rows: list[list]) -> str:
    if not rows:
        return f'Not run yet: `make experiments ARGS="--only={group}"`.'
    lines = [header, ['---'] * len(header), *rows]
    return '\n'.join(f'| {" | ".join(map(str, line))} |' for line in lines)
