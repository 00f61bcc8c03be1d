"""Characters per second of an evaluation: the model alone, with dynamic evaluation, counting, and a cache.

The model is untrained and has the shape of pipeline/presets/best.flags; the text is the bundled lyrics. The report has
medians over the rounds; the first round, which compiles, is left out.

  python -m benchmarks.evaluation --rounds=3
"""

import statistics
import time

import numpy as np
from absl import flags

from data import corpus, program
from data.reading import ReadingConfig
from data.vocabulary import Vocabulary
from pipeline import devices
from pipeline.config import ModelConfig
from pipeline.dataset import EncodedText

_FLAGS = flags.FLAGS
_MODEL = ModelConfig(cell='gru', hidden_size=512, embedding_size=512, tie_embeddings=True)
_ORDER = 7  # characters, of the counted n-grams


def main() -> None:
    from pipeline import dynamic_evaluation, kneser_ney, ngram_cache, ngrams, scorer
    from pipeline.model import CharRNN

    print(f'on {devices.prepare()}')
    text = corpus.load(ReadingConfig()).text
    vocabulary = Vocabulary.from_text(str(text))
    encoded = EncodedText.of(text, vocabulary, 'lyrics')
    ids, size = np.asarray(encoded.ids), len(vocabulary)
    model = CharRNN(_MODEL, size)
    static, dynamic = scorer.Scorer(model), dynamic_evaluation.DynamicScorer(model)

    def counted() -> np.ndarray:
        return kneser_ney.KneserNey(list(ngrams.numbered(ids, size, _ORDER)), size).log_probabilities(ids)

    log_p = counted()
    methods = {
        'model': lambda: static.losses(encoded),
        'model_dynamic': lambda: dynamic.losses(encoded, 0.1),
        f'kneser_ney_{_ORDER}, its counting included': counted,
        'cache': lambda: ngram_cache.adapted(ids, log_p, size),
    }
    for name, method in methods.items():
        method()
        seconds = []
        for _ in range(_FLAGS.rounds):
            start = time.perf_counter()
            method()
            seconds.append(time.perf_counter() - start)
        print(f'{name}: {len(text) / statistics.median(seconds):,.0f} characters/s')


if __name__ == '__main__':
    flags.DEFINE_integer('rounds', 5, 'Measured runs of each method.', lower_bound=1)
    program.run(main)
