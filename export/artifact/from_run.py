"""Exports a run from its directory and prints the result."""

import pathlib
import sys

from data import command_line
from export.artifact import description, versions, warmup
from export.artifact.exporter import export
from export.artifact.sample_settings import SampleSettings
from pipeline import devices, run_directory
from pipeline.checkpoints import load_model
from pipeline.limits import Limits
from pipeline.model import CharRNN

_EXAMPLE_LENGTH = 50  # characters


def export_run(
    run_dir: pathlib.Path | None,
    model_dir: pathlib.Path,
    checkpoint: str | None,
    limits: Limits,
    settings: SampleSettings,
    keep_versions: int,
) -> None:
    """Exports a checkpoint as the next version, and removes all but the newest `keep_versions` (0: keeps all).

    `run_dir` None means the newest run under runs/, `checkpoint` None the best checkpoint or else the latest. Raises
    `InputError` if the run cannot be read or `model_dir` cannot be written.
    """
    devices.use_cpu()
    run_dir = run_dir or run_directory.latest_run_dir()
    recorded = run_directory.read(run_dir)
    model = CharRNN(recorded.config.model, len(recorded.vocabulary))
    path = load_model(run_dir, model, checkpoint)
    source = description.read_source(run_dir, recorded, path)
    default_length = recorded.config.training.sample_length
    version_dir = export(model, recorded.vocabulary, model_dir, default_length, limits, source, settings)
    print(f'{path} -> {version_dir}')
    if not (version_dir / versions.WARMUP_REQUESTS).exists():
        print(f'exported without warm-up requests: {warmup.INSTALL_HINT}', file=sys.stderr)
    for removed in versions.remove_old(model_dir, keep_versions):
        print(f'removed {removed}')
    candidates = (*recorded.config.training.prefixes, *recorded.vocabulary.characters)
    prefix = next((p for p in candidates if p.isprintable() and len(p) <= limits.max_prefix), '')
    length = min(_EXAMPLE_LENGTH, limits.max_length)
    print(f'Next: {command_line.command("export.generate", model_dir=model_dir, prefix=prefix, length=length)}')
