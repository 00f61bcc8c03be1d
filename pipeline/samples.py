"""The texts that a run generates while it trains."""

import tensorflow as tf

from data.vocabulary import Vocabulary
from pipeline.devices import HOST
from pipeline.generate import Generator
from pipeline.model import CharRNN


class Samples:
    """Generates on the CPU, with a copy of a model's weights: on a GPU one character at a time takes longer."""

    def __init__(self, model: CharRNN, vocabulary: Vocabulary):
        self._model = model
        with tf.device(HOST):
            self._copy = CharRNN(model.config, model.vocabulary_size)
            self._generator = Generator(self._copy, vocabulary)

    def texts(self, prefixes: tuple[str, ...], length: int) -> list[str]:
        """Continues each prefix greedily by `length` characters, with the weights that the model has now."""
        with tf.device(HOST):
            self._copy.assign(self._model)
            return self._generator.texts(prefixes, length)
