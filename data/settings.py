"""Fields of settings dataclasses: each holds its default, its help text and its rules once."""

import dataclasses
from typing import Any

from data.errors import InputError

LARGEST_INT = 2**31 - 1
LARGEST_FLOAT = 3.4e38


def setting(default: Any, help_text: str, **rules: Any) -> Any:
    """Returns a field with its help text and rules.

    Args:
      default: of the field.
      help_text: of the flag that `flag_definitions` makes of the field.
      rules: `choices` of a string; `lowest`, `highest` or `below` (exclusive) of a number.
    """
    return dataclasses.field(default=default, metadata={'help': help_text} | rules)


def check_fields(settings: Any) -> None:
    """Raises `InputError` if a value of a dataclass breaks the rules of its field."""
    for field in dataclasses.fields(settings):
        value, rules = getattr(settings, field.name), field.metadata
        if 'choices' in rules and value not in rules['choices']:
            raise InputError(f'{field.name}={value!r} is not one of {", ".join(rules["choices"])}.')
        if 'lowest' in rules:
            _check_number(field, value)


def _check_number(field: dataclasses.Field, value: Any) -> None:
    """Raises `InputError` unless an integer fits 32 bits and a fraction fits a float32, or the bounds of the field."""
    whole, lowest, below = field.type is int, field.metadata['lowest'], field.metadata.get('below')
    if not isinstance(value, int if whole else int | float):
        raise InputError(f'{field.name}={value!r} must be a {"whole " if whole else ""}number.')
    if below is not None:
        if not lowest <= value < below:
            raise InputError(f'{field.name}={value} must be {lowest:g} or more, and below {below:g}.')
        return
    highest = field.metadata.get('highest', LARGEST_INT if whole else LARGEST_FLOAT)
    if not lowest <= value <= highest:
        raise InputError(f'{field.name}={value} must be between {lowest} and {highest}.')
