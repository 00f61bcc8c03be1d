"""Splits a text into a training, a validation and a test part."""

from typing import NamedTuple

from data.errors import InputError
from data.stored_text import StoredText

_FEWEST = 2  # characters: one to read and one to predict


class Parts(NamedTuple):
    """The parts of a text, in this order."""

    training: StoredText
    valid: StoredText
    test: StoredText


def split(text: StoredText, valid_fraction: float, test_fraction: float = 0.0) -> Parts:
    """Cuts off the last `test_fraction` of the characters, and before them `valid_fraction` of all characters.

    No training window crosses a cut. A fraction of 0 makes an empty part.

    Raises:
      InputError: a part is too short to predict a character, or the training part is empty.
    """
    fractions = {'valid_fraction': valid_fraction, 'test_fraction': test_fraction}
    sizes = {name: round(len(text) * fraction) for name, fraction in fractions.items()}
    for name, fraction in fractions.items():
        if fraction and sizes[name] < _FEWEST:
            raise InputError(
                f'{name}={fraction} holds out {sizes[name]} of the {len(text):,} characters; it must hold out '
                f'{_FEWEST} or more. Raise --{name}, or set it to 0 to hold out nothing.'
            )
    end = len(text) - sizes['test_fraction']
    cut = end - sizes['valid_fraction']
    if cut <= 0:
        given = [name for name, fraction in fractions.items() if fraction]
        raise InputError(
            f'{" and ".join(f"{name}={fractions[name]}" for name in given)} leave none of the {len(text):,} characters '
            f'to train on: lower {" or ".join(f"--{name}" for name in given)}.'
        )
    return Parts(text[:cut], text[cut:end], text[end:])
