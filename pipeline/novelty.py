"""How much of the text that a model generates was learned by heart."""

from collections.abc import Sequence

from data.vocabulary import Vocabulary
from pipeline.generate import Generator
from pipeline.model import CharRNN

TEMPERATURES = (0.5, 0.8, 1.0)
LENGTHS = (4, 8, 16)
"""Characters of the n-grams that are looked up in the training part."""

_NUM_TEXTS, _LENGTH = 5, 1000  # texts at each temperature, and characters of each


def measure(model: CharRNN, vocabulary: Vocabulary, prefix: str, training: str) -> dict[str, dict[str, float]]:
    """Samples texts after `prefix` and compares them with the training part.

    Returns:
      By temperature: `copied_<n>`, the fraction of the n-grams of the texts that the training part contains, and
      `longest_copy`, the number of characters of the longest passage that it contains.
    """
    generator = Generator(model, vocabulary)
    prefixes = [prefix] * _NUM_TEXTS
    texts = {
        f'{temperature:g}': [
            text[len(prefix) :] for text in generator.texts(prefixes, _LENGTH, temperature=temperature)
        ]
        for temperature in TEMPERATURES
    }
    found: dict[str, dict[str, float]] = {temperature: {} for temperature in texts}
    for length in LENGTHS:
        known = set(_ngrams(training, length))
        for temperature, samples in texts.items():
            found[temperature][f'copied_{length}'] = copied(samples, known, length)
    for temperature, samples in texts.items():
        found[temperature]['longest_copy'] = max(len(longest_copy(text, training)) for text in samples)
    return found


def copied(texts: Sequence[str], known: set[str], length: int) -> float:
    """Returns the fraction of the n-grams of `length` characters of `texts` that are `known`; 0 if there are none."""
    grams = [gram for text in texts for gram in _ngrams(text, length)]
    return sum(gram in known for gram in grams) / max(len(grams), 1)


def longest_copy(text: str, training: str) -> str:
    """Returns the longest passage of `text` that `training` contains, the first of several; '' if there is none."""
    longest = ''
    for start in range(len(text)):
        while (passage := text[start : start + len(longest) + 1]) in training and len(passage) > len(longest):
            longest = passage
    return longest


def table(found: dict[str, dict[str, float]]) -> str:
    """Returns what `measure` found as a table."""
    columns = [f'{f"{length}-grams":>10}' for length in LENGTHS]
    lines = [f'copied from the training part:\n{"temperature":>11}{"".join(columns)}{"longest copy":>14}']
    for temperature, row in found.items():
        shares = [f'{row[f"copied_{length}"]:10.1%}' for length in LENGTHS]
        lines.append(f'{temperature:>11}{"".join(shares)}{row["longest_copy"]:14,}')
    return '\n'.join(lines)


def _ngrams(text: str, length: int) -> list[str]:
    return [text[start : start + length] for start in range(len(text) - length + 1)]
