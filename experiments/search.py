"""Searches for settings: trains every combination of values and ranks them by their perplexity on the validation part.

Each run leaves a log and its metrics in --folder. A combination that has a log there is not trained again, so a search
can be stopped and continued. The test part is never evaluated. The exit code is 1 if every run failed. Example:

  python -m experiments.search --folder=searches/gru --train="--valid_fraction=0.1 --test_fraction=0.1 --cell=gru" \
    --vary=learning_rate=0.005,0.01 --vary=dropout=0,0.5
"""

import hashlib
import itertools
import pathlib
import shlex
import sys

from absl import flags

from data import program
from data.errors import InputError
from experiments import logs
from experiments.plan import SILENT, Run
from experiments.run import is_done, keep_log

_FLAGS = flags.FLAGS
_EVERY_EPOCH = ('--sample_every=1ep', *SILENT[1:])


def combinations(train: str, vary: list[str]) -> list[Run]:
    """Returns one run for each combination of values.

    Args:
      train: flags of pipeline.train that all runs share.
      vary: `name=value,value,...` each.

    Raises:
      InputError: an entry of `vary` does not have this form.
    """
    choices = []
    for entry in vary:
        name, _, values = entry.partition('=')
        if not name or not all(values.split(',')):
            raise InputError(f'vary={entry!r} must be name=value,value,..., such as dropout=0,0.5.')
        choices.append([f'{name}={value}' for value in values.split(',')])
    shared = (*shlex.split(train), *_EVERY_EPOCH)
    return [_run(shared, chosen) for chosen in itertools.product(*choices)]


def _run(shared: tuple[str, ...], chosen: tuple[str, ...]) -> Run:
    """Returns a run whose name has its varied settings and a hash of all, so that searches can share a folder."""
    settings = (*shared, *(f'--{setting}' for setting in chosen))
    digest = hashlib.sha256(' '.join(settings).encode()).hexdigest()[:6]
    return Run('-'.join([','.join(chosen) or 'as-given', digest]), settings)


def table(runs: list[Run], folder: pathlib.Path) -> str:
    """Returns the finished runs, the one with the lowest validation perplexity after its last epoch first."""
    ranked = []
    for run in runs:
        if is_done(run, folder):
            epochs = logs.read(folder / f'{run.name}.log').epochs
            valid = [epoch.valid for epoch in epochs if epoch.valid is not None]
            if not valid:
                raise InputError(f'{run.name} has no validation part: add --valid_fraction=0.1 to --train.')
            best, seconds = min(valid), sum(epoch.seconds or 0 for epoch in epochs)
            line = f'{valid[-1]:8.2f} {best:8.2f} {valid.index(best) + 1:6} {seconds:8.1f}  {run.name}'
            ranked.append((valid[-1], line))
    header = f'{"last":>8} {"best":>8} {"epoch":>6} {"seconds":>8}  settings'
    return '\n'.join([header, *(line for _, line in sorted(ranked))])


def main() -> int:
    folder, runs = pathlib.Path(_FLAGS.folder), combinations(_FLAGS.train, _FLAGS.vary)
    waiting = [run for run in runs if not is_done(run, folder)]
    for number, run in enumerate(waiting, 1):
        print(f'{number} of {len(waiting)}: {run.name}', file=sys.stderr, flush=True)
        try:
            keep_log(run, folder)
        except InputError as error:  # a combination that diverges does not end the search
            print(error, file=sys.stderr)
    print(table(runs, folder))
    return 0 if any(is_done(run, folder) for run in runs) else 1


if __name__ == '__main__':
    flags.DEFINE_string('folder', 'searches/latest', 'Folder of the logs.')
    flags.DEFINE_string('train', '', 'Flags of pipeline.train that all runs share.')
    flags.DEFINE_multi_string(
        'vary', [], 'name=value,value,...: values of a flag of pipeline.train; repeat for others.'
    )
    program.run(main)
