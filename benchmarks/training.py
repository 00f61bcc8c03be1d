"""Seconds per epoch of this project and of the same training in PyTorch with nn.Embedding, nn.RNN and nn.Linear.

The contestants take turns, each in a new process. The report compares medians over the rounds.

  python -m benchmarks.training --corpus=lyrics --rounds=3
"""

import json
import statistics
import time
from collections.abc import Callable

import numpy as np
from absl import flags

from benchmarks import turns
from data import corpus, program
from data.ids import Ids
from data.reading import ReadingConfig
from data.vocabulary import Vocabulary
from data.windows import Windows
from pipeline import devices
from pipeline.config import Config

_FLAGS = flags.FLAGS
_CONFIG = Config()


def charrnn_epochs(ids: np.ndarray, size: int, num_epochs: int) -> list[float]:
    """Returns the seconds of each epoch of this project's trainer with the section's settings."""
    from pipeline.model import CharRNN
    from pipeline.trainer import Trainer

    devices.prepare()
    config = _CONFIG.replace({'num_epochs': num_epochs})
    windows = Windows(len(ids), config.data.batch_size, config.data.num_steps)
    trainer = Trainer(CharRNN(config.model, size), windows, config.training)
    seconds = [0.0] * num_epochs
    for progress in trainer.train(Ids.of(ids)):
        seconds[progress.epoch - 1] += progress.seconds
    return seconds


def pytorch_epochs(ids: np.ndarray, size: int, num_epochs: int) -> list[float]:
    """Trains with the same windows, model, loss, clipping and updates, written in plain PyTorch."""
    import torch

    data, model, training = _CONFIG.data, _CONFIG.model, _CONFIG.training
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    embedding = torch.nn.Embedding(size, model.hidden_size, device=device)
    rnn = torch.nn.RNN(model.hidden_size, model.hidden_size, device=device)
    output = torch.nn.Linear(model.hidden_size, size, device=device)
    parameters = [*embedding.parameters(), *rnn.parameters(), *output.parameters()]
    for parameter in parameters:
        torch.nn.init.normal_(parameter, 0, model.init_scale)
    optimizer = torch.optim.SGD(parameters, lr=training.learning_rate)
    cross_entropy = torch.nn.CrossEntropyLoss()
    characters = torch.tensor(ids, dtype=torch.int64, device=device)
    steps = torch.arange(data.num_steps + 1, device=device)
    num_windows = (len(ids) - 1) // data.num_steps

    def epoch() -> None:
        offsets = torch.randperm(num_windows, device=device) * data.num_steps
        for batch in offsets[: num_windows // data.batch_size * data.batch_size].split(data.batch_size):
            window = characters[batch[:, None] + steps].T
            hidden, _ = rnn(embedding(window[:-1]))
            loss = cross_entropy(output(hidden).flatten(0, 1), window[1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, training.clip_norm)
            optimizer.step()
        loss.item()  # waits for the GPU

    return [_timed(epoch) for _ in range(num_epochs)]


def _timed(function: Callable[[], None]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


CONTESTANTS = {'charrnn': charrnn_epochs, 'pytorch': pytorch_epochs}


def main() -> None:
    if _FLAGS.only:
        text = str(corpus.load(ReadingConfig(_FLAGS.corpus, max_characters=_FLAGS.max_characters)).text)
        vocabulary = Vocabulary.from_text(text)
        seconds = CONTESTANTS[_FLAGS.only](vocabulary.encode(text), len(vocabulary), _FLAGS.num_epochs)
        print(json.dumps({'first': seconds[0], 'median': statistics.median(seconds[1:])}))
        return
    arguments = [f'--{name}={_FLAGS[name].value}' for name in ('corpus', 'max_characters', 'num_epochs')]
    found = turns.rounds('benchmarks.training', CONTESTANTS, arguments, _FLAGS.rounds)
    for name in CONTESTANTS:
        first, then = (turns.median(found, name, figure) for figure in ('first', 'median'))
        print(f'{name}: first epoch {first:.2f} s, then {then:.4f} s an epoch')
    print(f'charrnn / pytorch: {turns.ratio(found, "charrnn", "pytorch", "median")}')


if __name__ == '__main__':
    flags.DEFINE_string('corpus', 'lyrics', 'Corpus, as for pipeline.train.')
    flags.DEFINE_integer('max_characters', 0, 'Characters to use from the start of the corpus. 0: all.')
    flags.DEFINE_integer('num_epochs', 30, 'Epochs per contestant and round.', lower_bound=2)
    flags.DEFINE_integer('rounds', 5, 'Runs of each contestant.', lower_bound=1)
    flags.DEFINE_enum(
        'only', None, CONTESTANTS, 'Run only this contestant, in this process, and print its seconds as JSON.'
    )
    program.run(main)
