"""What the contestants train: models of several sizes, and the operations of their updates."""

import dataclasses

from pipeline import cells


@dataclasses.dataclass(frozen=True)
class Case:
    """A model and the shape of its minibatches. The other settings are those of the section."""

    cell: str
    hidden_size: int
    num_layers: int = 1
    batch_size: int = 32
    num_steps: int = 35
    embedding_size: int = 0
    init_scale: float = 0.01

    def with_embedding(self) -> 'Case':
        """Returns the case with an embedding of H before the first layer."""
        return dataclasses.replace(self, embedding_size=self.hidden_size)

    def operations(self, vocabulary_size: int) -> int:
        """Multiplications and additions in the matrix products of one update.

        Each weight takes two of them per character in the forward pass, and two each for its gradient and for that of
        its input. No product has the characters as its input: their rows of `w_xh` are gathered.
        """
        size, gates = self.hidden_size, len(cells.make(self.cell).gates)
        recurrent = self.num_layers * size * gates * size
        below = (self.num_layers - 1) * size * gates * size + self.embedding_size * gates * size
        return 6 * self.batch_size * self.num_steps * (recurrent + below + size * vocabulary_size)


CASES = {
    'rnn-256': Case('rnn', 256),
    'gru-256': Case('gru', 256),
    'lstm-256': Case('lstm', 256),
    'rnn-256-b128': Case('rnn', 256, batch_size=128),
    'lstm-256-b128': Case('lstm', 256, batch_size=128),
    'rnn-512': Case('rnn', 512),
    'lstm-512': Case('lstm', 512),
    'lstm-512-x2': Case('lstm', 512, num_layers=2),
    'rnn-1024': Case('rnn', 1024),
    'lstm-1024': Case('lstm', 1024),
}
"""By name: cell, H, and where they are not the section's L or B."""
