"""Generation in PyTorch: a loop over `nn.Embedding`, a recurrent layer and `nn.Linear`, one character a step.

`python -m benchmarks.peers.pytorch_generation <cell> <V> <length> <batch sizes ...>` prints JSON: characters a
second by `<batch size>, <how>`. The model is not trained. The number of threads is the faster of 1 and all.
"""

import functools
import json
import sys

import torch

from benchmarks.peers.calls import median_seconds

_CELLS = {'rnn': torch.nn.RNN, 'gru': torch.nn.GRU, 'lstm': torch.nn.LSTM}
_SIZE, _PREFIX_LENGTH = 256, 2
TOP_P = 0.9


def greedy(logits: torch.Tensor) -> torch.Tensor:
    return logits.argmax(-1)


def top_p(logits: torch.Tensor) -> torch.Tensor:
    ranked, order = torch.softmax(logits, -1).sort(descending=True)
    kept = ranked * (ranked.cumsum(-1) - ranked < TOP_P)
    return order.gather(1, torch.multinomial(kept, 1))[:, 0]


@torch.no_grad()
def main(cell: str, vocabulary_size: int, length: int, batch_sizes: list[int]) -> dict[str, float]:
    """Returns characters a second: the added characters of all rows, over the median seconds of the calls."""
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    embedding = torch.nn.Embedding(vocabulary_size, _SIZE, device=device)
    recurrent = _CELLS[cell](_SIZE, _SIZE, device=device)
    output = torch.nn.Linear(_SIZE, vocabulary_size, device=device)

    def generate(batch_size: int, choose) -> torch.Tensor:
        prefix = torch.randint(vocabulary_size, (_PREFIX_LENGTH, batch_size), device=device)
        hidden, state = recurrent(embedding(prefix))
        added = []
        for _ in range(length):
            added.append(choose(output(hidden[-1])))
            hidden, state = recurrent(embedding(added[-1][None]), state)
        return torch.stack(added, 1).cpu()

    found: dict[str, float] = {}
    for threads in {1, torch.get_num_threads()}:
        torch.set_num_threads(threads)
        for batch_size in batch_sizes:
            for how, choose in (('greedy', greedy), ('top-p', top_p)):
                name = f'{batch_size}, {how}'
                seconds = median_seconds(functools.partial(generate, batch_size, choose))
                found[name] = max(found.get(name, 0.0), batch_size * length / seconds)
    return found


if __name__ == '__main__':
    cell, *numbers = sys.argv[1:]
    size, length, *batch_sizes = map(int, numbers)
    print(json.dumps(main(cell, size, length, batch_sizes)))
