"""The flag --checkpoint of the programs that load the weights of a run."""

from absl import flags

from pipeline.config import CHECKPOINTS

flags.disclaim_key_flags()  # --help lists the flag as one of the calling program


def define_checkpoint() -> None:
    """Defines --checkpoint, the weights of a run that a program loads."""
    help_text = (
        'latest: the newest weights; best: those with the lowest held-out perplexity. Default: best, else latest.'
    )
    flags.DEFINE_enum('checkpoint', None, CHECKPOINTS, help_text)
