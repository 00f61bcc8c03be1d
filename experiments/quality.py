"""Renders the tables of docs/quality.md from the logs of pipeline.evaluate in docs/logs/quality."""

import pathlib
import re
import statistics

from experiments import report
from experiments.plan import ROOT

DOCUMENT = ROOT / 'docs' / 'quality.md'
FOLDER = ROOT / 'docs' / 'logs' / 'quality'
SEEDS = range(3)

_ROW = re.compile(r'(\w+) +(\d+\.\d\d) +\d+\.\d{4} +\d+\.\d{4}(?: +(\d+\.\d\d))?')

Figures = dict[str, tuple[float, float | None]]
"""Perplexity on the whole text and on its new text, by the name of the model."""


def parse(text: str) -> Figures:
    """Returns the figures of a log of pipeline.evaluate."""
    rows = (_ROW.fullmatch(line) for line in text.splitlines())
    return {row[1]: (float(row[2]), float(row[3]) if row[3] else None) for row in rows if row}


def update() -> None:
    """Renders the document in place."""
    DOCUMENT.write_text(report.render(DOCUMENT.read_text('utf-8'), tables(FOLDER)), 'utf-8')


def tables(folder: pathlib.Path) -> dict[str, str]:
    """Returns the tables of the document, by name."""
    return {'three_parts': three_parts(folder), 'two_parts': two_parts(folder)}


def three_parts(folder: pathlib.Path) -> str:
    """Renders the evaluation of three runs and their mixtures on the test part of the corpus of the section."""
    found = parse((folder / 'jaychou-test.log').read_text('utf-8'))
    models = ['model', *(f'model_{seed + 1}' for seed in SEEDS[1:])]

    def mean_of(suffix: str) -> Figures:
        return {name: found[f'{name}{suffix}'] for name in models}

    return _table(
        {
            'one model': mean_of(''),
            'one model, dynamic': mean_of('_dynamic'),
            'one model, cache': mean_of('_cache'),
            'Kneser-Ney, 2 characters': {'': found['kneser_ney_2']},
            'Kneser-Ney, 6 characters': {'': found['kneser_ney_6']},
            'Kneser-Ney, 6 characters, cache': {'': found['kneser_ney_6_cache']},
            'mixture of the three models and Kneser-Ney': {'': found['mixture']},
            'mixture of everything': {'': found['mixture_adaptive']},
            'each character as likely as in training': {'': found['unigram']},
            'all characters equally likely': {'': found['uniform']},
        }
    )


def two_parts(folder: pathlib.Path) -> str:
    """Renders three runs on nine tenths of the corpus, evaluated on the last."""
    logs = [parse((folder / f'jaychou-old-seed{seed}.log').read_text('utf-8')) for seed in SEEDS]

    def of_all(name: str) -> Figures:
        return {str(seed): log[name] for seed, log in enumerate(logs)}

    return _table(
        {
            'one model': of_all('model'),
            'one model, dynamic': of_all('model_dynamic'),
            'one model, cache': of_all('model_cache'),
            'Kneser-Ney, 2 characters': {'': logs[0]['kneser_ney_2']},
            'Kneser-Ney, 4 characters': {'': logs[0]['kneser_ney_4']},
            'Kneser-Ney, 6 characters': {'': logs[0]['kneser_ney_6']},
            'Kneser-Ney, 6 characters, cache': {'': logs[0]['kneser_ney_6_cache']},
        }
    )


def _table(rows: dict[str, Figures]) -> str:
    lines = ['| | perplexity | on new text |', '| --- | --- | --- |']
    for label, figures in rows.items():
        whole, new = zip(*figures.values(), strict=True)
        of_new = _spread([value for value in new if value is not None])
        lines.append(f'| {label} | {_spread(list(whole))} | {of_new} |')
    return '\n'.join(lines)


def _spread(values: list[float]) -> str:
    if not values:
        return ''
    mean = f'{statistics.mean(values):.2f}'
    return mean if len(values) == 1 else f'{mean} ({min(values):.2f} to {max(values):.2f})'
