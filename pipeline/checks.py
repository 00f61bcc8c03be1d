"""Checks of the rows of a request, in the graph. Each message gives the input, the row, the value and the rule.

The checks are assertions, which raise InvalidArgumentError when they run; a server answers INVALID_ARGUMENT.
"""

import tensorflow as tf


def rows(name: str, first: tf.Tensor, **others: tf.Tensor) -> list[tf.Operation]:
    """Asserts that the input `name` has a row, and that all others have the same number of rows."""
    count = tf.shape(first)[0]
    checks = [tf.debugging.Assert(count > 0, [f'{name} has no row; give one or more'])]
    for other, value in others.items():
        own = tf.shape(value)[0]
        message = tf.strings.format(f'{other} has {{}} rows and {name} {{}}; give both the same number', (own, count))
        checks.append(tf.debugging.Assert(own == count, [message]))
    return checks


def each(name: str, values: tf.Tensor, valid: tf.Tensor, rule: str, found: str = 'is {}') -> tf.Operation:
    """Asserts that every row of `valid` is true; the message gives the first invalid row, its value and the rule."""

    def message() -> tf.Tensor:
        row = tf.argmin(tf.cast(valid, tf.int32))
        return tf.strings.format(f'{name}[{{}}] {found}; it must {rule}', (row, values[row]))

    all_valid = tf.reduce_all(valid)
    return tf.debugging.Assert(all_valid, [tf.cond(all_valid, lambda: '', message)])


def within(name: str, values: tf.Tensor, lowest: int, highest: int | None, *, counts: bool = False) -> tf.Operation:
    """Asserts that all `values` are at least `lowest` and at most the model's limit `highest`, unless that is None.

    With `counts`, the values are the numbers of characters of the rows of `name`.
    """
    verb, found = ('have', 'has {} characters') if counts else ('be', 'is {}')
    if highest is None:
        return each(name, values, values >= lowest, f'{verb} {lowest} or more', found)
    rule = f'{verb} {lowest} to {highest}, the limit that this model was exported with'
    return each(name, values, (values >= lowest) & (values <= highest), rule, found)
