"""Command-line flags generated from the fields of a settings dataclass."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from absl import flags

flags.disclaim_key_flags()  # --help lists the flags as those of the calling program


def define_flags(
    settings: type, names: Collection[str] | None = None, *, computed: Mapping[str, str] | None = None
) -> None:
    """Defines one flag per field that has a help text.

    Args:
      settings: a dataclass whose fields come from `settings.setting`.
      names: of the fields; None: all.
      computed: `{name: sentence}` for the flags whose default the program computes. Their default is None, and the
        sentence, which says what the program uses instead, is added to their help text.
    """
    computed = computed or {}
    for field in dataclasses.fields(settings):
        if 'help' in field.metadata and (names is None or field.name in names):
            default = None if field.name in computed else field.default
            _define(field, default, ' '.join(filter(None, [field.metadata['help'], computed.get(field.name)])))


def _define(field: dataclasses.Field, default: Any, help_text: str) -> None:
    """Defines a flag of the type of `field`. The dataclass itself checks bounds, with the message that a file gets."""
    if 'choices' in field.metadata:
        flags.DEFINE_enum(field.name, default, field.metadata['choices'], help_text)
    elif field.type is bool:
        flags.DEFINE_bool(field.name, default, help_text)
    elif field.type is int:
        flags.DEFINE_integer(field.name, default, help_text)
    elif field.type is float:
        flags.DEFINE_float(field.name, default, help_text)
    elif field.type is str:
        flags.DEFINE_string(field.name, default, help_text)
    else:
        flags.DEFINE_multi_string(field.name, list(default), help_text)
