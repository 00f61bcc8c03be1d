"""Runs the section's exercises and renders docs/experiments.md.

Trains each run of the plan that does not have a log yet (`--redo`: every run), one after another, and writes its output
to docs/logs/experiments/<name>.log and its metrics.jsonl to <name>.jsonl. Then renders the tables and pictures of the
document from all logs, and the tables of docs/quality.md from its own. Examples:

  python -m experiments.run --list
  python -m experiments.run --only=seeds,relu
  python -m experiments.run --only=bptt,grid --redo     (groups that report seconds; use an idle machine)
  python -m experiments.run --render_only
"""

import pathlib
import tempfile
import time

from absl import flags

from data import program
from data.errors import InputError
from experiments import commands, logs, pictures, plan, quality, report
from pipeline import metrics_file

_FLAGS = flags.FLAGS


def is_done(run: plan.Run, folder: pathlib.Path = logs.FOLDER) -> bool:
    """Returns whether `folder` has a log of this run's command, with its metrics."""
    path = folder / f'{run.name}.log'
    return commands.has_log(path, run.command) and logs.metrics_path(path).exists()


def keep_log(run: plan.Run, folder: pathlib.Path = logs.FOLDER) -> None:
    """Trains in a temporary directory and writes the log with its metrics.

    Raises:
      InputError: the run failed; no log is written.
    """
    with tempfile.TemporaryDirectory() as directory:
        for package in ('data', 'pipeline'):
            (pathlib.Path(directory) / package).symlink_to(plan.ROOT / package)
        lines = commands.output(run.name, run.command, pathlib.Path(directory))
        (run_dir,) = (pathlib.Path(directory) / 'runs').iterdir()
        metrics = (run_dir / metrics_file.NAME).read_text('utf-8').splitlines()
    path = folder / f'{run.name}.log'
    commands.write_log(logs.metrics_path(path), metrics)
    commands.write_log(path, lines)


def _select(only: list[str]) -> dict[str, list[plan.Run]]:
    """Returns the named groups of the plan; all if none is named."""
    groups = plan.groups()
    unknown = set(only) - groups.keys()
    if unknown:
        raise InputError(f'only={",".join(sorted(unknown))!r} is not a group of the plan: use {", ".join(groups)}.')
    return {name: runs for name, runs in groups.items() if not only or name in only}


def _show(groups: dict[str, list[plan.Run]]) -> None:
    for name, runs in groups.items():
        print(f'{name}:')
        for run in runs:
            print(f'  [{"x" if is_done(run) else " "}] {run.name}: {run.command}')


def _run_all(runs: list[plan.Run]) -> None:
    start = time.perf_counter()
    for number, run in enumerate(runs, 1):
        minutes = (time.perf_counter() - start) / 60
        print(f'{number} of {len(runs)}, {minutes:.1f} minutes so far: {run.name}', flush=True)
        keep_log(run)


def main() -> None:
    groups = _select(_FLAGS.only)
    if _FLAGS.list:
        _show(groups)
        return
    if not _FLAGS.render_only:
        _run_all([run for runs in groups.values() for run in runs if _FLAGS.redo or not is_done(run)])
    found = logs.read_all()
    report.update(found)
    quality.update()
    pictures.draw_all(found)


if __name__ == '__main__':
    flags.DEFINE_list('only', [], 'Groups of the plan to run, separated by commas. Default: all.')
    flags.DEFINE_bool('list', False, 'Show the plan and which runs have logs; run nothing.')
    flags.DEFINE_bool('redo', False, 'Also run what already has a log.')
    flags.DEFINE_bool('render_only', False, 'Run nothing; render tables and pictures from the existing logs.')
    program.run(main)
