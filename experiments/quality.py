"""Runs the evaluations of docs/quality.md and renders its tables.

Runs each command of the plan that does not have a log yet, in the order of the plan, and writes its output to
docs/logs/quality/<name>.log. Then renders the tables from the logs. The runs stay in runs/quality; a training that was
stopped goes on there. Use an idle machine for groups with a time limit. Examples:

  python -m experiments.quality --list
  python -m experiments.quality --only=jaychou,lyrics
  python -m experiments.quality --render_only
"""

import pathlib
import re
import statistics
import sys
from typing import NamedTuple

from absl import flags

from data import program
from data.errors import InputError
from experiments import commands, quality_plan, report
from experiments.plan import ROOT

DOCUMENT = ROOT / 'docs' / 'quality.md'
FOLDER = ROOT / 'docs' / 'logs' / 'quality'

_FLAGS = flags.FLAGS
_ROW = re.compile(r'(\w+) +(\d+\.\d\d) +(\d+\.\d{4}) +(\d+\.\d{4})(?: +(\d+\.\d\d))?')
_TIME = re.compile(r'\(whole program: (\d+\.\d) s\)')
_MODELS = ['model', *(f'model_{number}' for number in range(2, len(quality_plan.SEEDS) + 1))]


class Figures(NamedTuple):
    """Those of one model in a log of pipeline.evaluate."""

    perplexity: float
    nats: float
    bits: float
    new_text: float | None
    """Perplexity on new text."""


def parse(text: str) -> dict[str, Figures]:
    """Returns the figures in a log of pipeline.evaluate, by the name of the model."""
    rows = (_ROW.fullmatch(line) for line in text.splitlines())
    return {
        row[1]: Figures(*(float(row[n]) for n in (2, 3, 4)), new_text=float(row[5]) if row[5] else None)
        for row in rows
        if row
    }


def update() -> None:
    """Renders the document in place."""
    DOCUMENT.write_text(report.render(DOCUMENT.read_text('utf-8'), tables(FOLDER)), 'utf-8')


def tables(folder: pathlib.Path) -> dict[str, str]:
    """Returns the tables of the document, by name."""
    return {
        'three_parts': _jaychou(folder, 'three'),
        'two_parts': _jaychou(folder, 'two'),
        'shakespeare': _shakespeare(folder),
        'ptb': _ptb(folder),
        'lyrics': _lyrics(folder),
    }


def _jaychou(folder: pathlib.Path, parts: str) -> str:
    """Renders the evaluation of the runs and their mixtures on the last part of the corpus of the section."""
    found, models = (_figures(folder, f'jaychou-{parts}-{name}') for name in ('all', 'models'))
    cells, cells_alone = (_figures(folder, f'jaychou-{parts}-cells-{name}') for name in ('all', 'models'))
    count, lstms = len(_MODELS), quality_plan.NUM_LSTMS
    mixed = f'{count - lstms} of them and {lstms} LSTMs'
    rows = {
        'one model': [found[name] for name in _MODELS],
        f'{count} models': [models['mixture']],
        f'{count} models and Kneser-Ney': [found['mixture']],
        mixed: [cells_alone['mixture']],
        f'{mixed}, and Kneser-Ney': [cells['mixture']],
        'Kneser-Ney, 2 characters': [found['kneser_ney_2']],
        'Kneser-Ney, 4 characters': [found['kneser_ney_4']],
        'Kneser-Ney, 6 characters': [found['kneser_ney_6']],
        'each character as likely as in training': [found['unigram']],
        'all characters equally likely': [found['uniform']],
        'one model, dynamic': [found[f'{name}_dynamic'] for name in _MODELS],
        'one model, cache': [found[f'{name}_cache'] for name in _MODELS],
        'Kneser-Ney, 6 characters, cache': [found['kneser_ney_6_cache']],
        'everything': [found['mixture_adaptive']],
    }
    return _table(
        ['', 'perplexity', 'on new text'],
        [
            [label, _spread([f.perplexity for f in own]), _spread([f.new_text for f in own if f.new_text])]
            for label, own in rows.items()
        ],
    )


def _shakespeare(folder: pathlib.Path) -> str:
    large = 'two LSTM layers of 512 units'
    labels = {'shakespeare-3': 'LSTM of 256 units', 'shakespeare-30': large, 'shakespeare-60': large}
    rows = []
    for name, label in labels.items():
        found = _figures(folder, name)
        rows.append([_link(name, label), f'{found["model"].nats:.3f}', _link(f'{name}-train', _minutes(folder, name))])
    dynamic = _figures(folder, 'shakespeare-60-dynamic')['model_dynamic']
    rows.append([_link('shakespeare-60-dynamic', 'the last, dynamic'), f'{dynamic.nats:.3f}', ''])
    rows.append(['Kneser-Ney, 7 characters', f'{found["kneser_ney_7"].nats:.3f}', 'seconds'])
    return _table(['', 'nats', 'training'], rows)


def _ptb(folder: pathlib.Path) -> str:
    test, valid = (_figures(folder, f'ptb-{part}') for part in ('test', 'valid'))
    names = {'LSTM of 640 units': 'model', 'Kneser-Ney, 7 characters': 'kneser_ney_7', 'both': 'mixture'}
    times = {'model': _link('ptb-train', _minutes(folder, 'ptb')), 'kneser_ney_7': 'seconds'}
    rows = [
        [label, f'{test[name].bits:.3f}', f'{valid[name].bits:.3f}' if name in valid else '', times.get(name, '')]
        for label, name in names.items()
    ]
    return _table(['', _link('ptb-test', 'test'), _link('ptb-valid', 'validation'), 'training'], rows)


def _lyrics(folder: pathlib.Path) -> str:
    found = _figures(folder, 'lyrics')
    names = {
        'the model': 'model',
        'Kneser-Ney, 2 characters': 'kneser_ney_2',
        'Kneser-Ney, 4 characters': 'kneser_ney_4',
        'both': 'mixture',
    }
    rows = [[label, f'{found[name].perplexity:.2f}', f'{found[name].new_text:.2f}'] for label, name in names.items()]
    return _table(['', 'perplexity', 'on new text'], rows)


def _figures(folder: pathlib.Path, name: str) -> dict[str, Figures]:
    return parse((folder / f'{name}.log').read_text('utf-8'))


def _minutes(folder: pathlib.Path, run: str) -> str:
    """Returns how long the training of a run took."""
    seconds = _TIME.search((folder / f'{run}-train.log').read_text('utf-8'))
    return f'{float(seconds[1]) / 60:.1f} minutes' if seconds else ''


def _link(name: str, label: str) -> str:
    return f'[{label}](logs/quality/{name}.log)'


def _spread(values: list[float]) -> str:
    if not values:
        return ''
    mean = f'{statistics.mean(values):.2f}'
    return mean if len(values) == 1 else f'{mean} ({min(values):.2f} to {max(values):.2f})'


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ['---'] * len(header), *rows]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def main() -> None:
    groups = quality_plan.groups()
    if unknown := set(_FLAGS.only) - groups.keys():
        raise InputError(f'only={",".join(sorted(unknown))!r} is not a group of the plan: use {", ".join(groups)}.')
    steps = [step for name, of_group in groups.items() if not _FLAGS.only or name in _FLAGS.only for step in of_group]
    for step in steps:
        path = FOLDER / f'{step.name}.log'
        done = commands.has_log(path, step.command)
        if _FLAGS.list:
            print(f'[{"x" if done else " "}] {step.name}: {step.command}')
        elif not done and not _FLAGS.render_only:
            print(step.name, file=sys.stderr, flush=True)
            commands.write_log(path, commands.output(step.name, step.command, ROOT))
    if not _FLAGS.list:
        update()


if __name__ == '__main__':
    flags.DEFINE_list('only', [], 'Groups of the plan to run, separated by commas. Default: all.')
    flags.DEFINE_bool('list', False, 'Show the plan and which commands have logs; run nothing.')
    flags.DEFINE_bool('render_only', False, 'Run nothing; render the tables from the existing logs.')
    program.run(main)
