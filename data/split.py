"""One text -> the part to learn from, and a tail that is held out."""

from data.errors import InputError

_FEWEST = 2  # characters: the first is only read, the second is predicted


def split(text: str, valid_fraction: float) -> tuple[str, str]:
    """Cuts the last `valid_fraction` of the characters off: `(training part, held-out part)`.

    The tail is contiguous, so that what is held out reads as the corpus does, and both parts are texts of their own:
    windows that are taken from the training part alone cannot cross the cut. A fraction of 0 holds out nothing.

    Raises:
      InputError: so few characters are held out that none of them could be predicted, or none is left to learn from.
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
