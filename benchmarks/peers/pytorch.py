"""PyTorch: `nn.Embedding`, `nn.RNN`, `nn.GRU` or `nn.LSTM`, and `nn.Linear`; eager, or `--compile`d.

The bias of the recurrent product stays 0, since the bias of the input product is the model's only one. PyTorch's GRU
applies the reset gate after the product, so its perplexities differ slightly.
"""

import sys

import numpy as np
import torch

from benchmarks.peers.task import Task

_CELLS = {'rnn': torch.nn.RNN, 'gru': torch.nn.GRU, 'lstm': torch.nn.LSTM}
_ORDER = {'rnn': [0], 'gru': [1, 0, 2], 'lstm': [0, 1, 3, 2]}
"""The gates of a cell in PyTorch's order, as numbers of ours."""


class Model(torch.nn.Module):
    """Ids `[T, B]` -> logits `[T, B, V]`."""

    def __init__(self, task: Task):
        super().__init__()
        settings = task.settings
        size = settings['hidden_size']
        self.embedding = torch.nn.Embedding(task.vocabulary_size, size)
        self.recurrent = _CELLS[settings['cell']](size, size, settings['num_layers'])
        self.output = torch.nn.Linear(size, task.vocabulary_size)
        order = _ORDER[settings['cell']]

        def gates(weights: np.ndarray) -> torch.Tensor:
            """`[..., G·H]` -> `[G·H, ...]`, in PyTorch's order."""
            parts = np.split(weights, len(order), -1)
            return torch.tensor(np.concatenate([parts[n] for n in order], -1).T)

        with torch.no_grad():
            self.embedding.weight.copy_(torch.tensor(task.weights['embedding']))
            self.output.weight.copy_(torch.tensor(task.weights['w_hq'].T))
            self.output.bias.copy_(torch.tensor(task.weights['b_q']))
            for number, suffix in enumerate(task.suffixes):
                for name, own in (('w_xh', 'weight_ih'), ('w_hh', 'weight_hh'), ('b_h', 'bias_ih')):
                    getattr(self.recurrent, f'{own}_l{number}').copy_(gates(task.weights[name + suffix]))
                bias = getattr(self.recurrent, f'bias_hh_l{number}')
                bias.zero_()
                bias.requires_grad_(False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.output(self.recurrent(self.embedding(ids))[0])


def main(path: str, *options: str) -> None:
    task = Task.read(path)
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    model = Model(task).to(device)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=task.settings['learning_rate'])
    cross_entropy = torch.nn.CrossEntropyLoss()

    def loss_of(inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return cross_entropy(model(inputs).flatten(0, 1), targets.flatten())

    if '--compile' in options:
        loss_of = torch.compile(loss_of)

    def epoch(inputs: np.ndarray, targets: np.ndarray) -> float:
        ids = torch.tensor(inputs.swapaxes(1, 2), dtype=torch.int64, device=device)
        following = torch.tensor(targets.swapaxes(1, 2), dtype=torch.int64, device=device)
        total = torch.zeros([], device=device)
        for update in range(len(ids)):
            loss = loss_of(ids[update], following[update])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, task.settings['clip_norm'])
            optimizer.step()
            total += loss.detach()
        return total.item() / len(ids)

    task.run(f'PyTorch {torch.__version__}', epoch)


if __name__ == '__main__':
    main(*sys.argv[1:])
