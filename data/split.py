"""Splits a text into a training part and a held-out part."""

from data.errors import InputError

_FEWEST = 2  # characters: one to read and one to predict


def split(text: str, valid_fraction: float) -> tuple[str, str]:
    """Returns `(training part, held-out part)`; the held-out part is the last `valid_fraction` of the characters.

    No training window crosses the cut. A fraction of 0 holds out nothing.

    Raises:
      InputError: the held-out part is too short to predict a character, or the training part is empty.
    """
    held_out = round(len(text) * valid_fraction)
    if valid_fraction and held_out < _FEWEST:
        raise InputError(
            f'valid_fraction={valid_fraction} holds out {held_out} of the {len(text):,} characters; it must hold out '
            f'{_FEWEST} or more. Raise --valid_fraction, or set it to 0 to hold out nothing.'
        )
    cut = len(text) - held_out
    if not cut:
        raise InputError(
            f'valid_fraction={valid_fraction} holds out all of the {len(text):,} characters: lower --valid_fraction.'
        )
    return text[:cut], text[cut:]
