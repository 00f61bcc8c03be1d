"""What the rows of a request must be, checked in the graph: each message names the input, the row, the value, the rule.

The checks are assertions: InvalidArgumentError when they run, which a server answers as INVALID_ARGUMENT.
"""

import tensorflow as tf


def rows(name: str, first: tf.Tensor, **others: tf.Tensor) -> list[tf.Operation]:
    """Asserts that the input `name` has a row, and that each of the others has as many rows as it."""
    count = tf.shape(first)[0]
    checks = [tf.debugging.Assert(count > 0, [f'{name} has no row; give one or more'])]
    for other, value in others.items():
        own = tf.shape(value)[0]
        message = tf.strings.format(f'{other} has {{}} rows and {name} {{}}; give both as many', (own, count))
        checks.append(tf.debugging.Assert(own == count, [message]))
    return checks


def each(name: str, values: tf.Tensor, valid: tf.Tensor, rule: str, found: str = 'is {}') -> tf.Operation:
    """Asserts that each row of `valid` holds; the message names the first that does not, its value and the rule."""

    def message() -> tf.Tensor:
        row = tf.argmin(tf.cast(valid, tf.int32))
        return tf.strings.format(f'{name}[{{}}] {found}; it must {rule}', (row, values[row]))

    all_valid = tf.reduce_all(valid)
    return tf.debugging.Assert(all_valid, [tf.cond(all_valid, lambda: '', message)])


def within(name: str, values: tf.Tensor, lowest: int, highest: int | None, *, counts: bool = False) -> tf.Operation:
    """Asserts that each of `values` is at least `lowest` and, unless None, at most the model's limit `highest`.

    With `counts` the values are how many characters the rows of `name` have.
    """
    verb, found = ('have', 'has {} characters') if counts else ('be', 'is {}')
    if highest is None:
        return each(name, values, values >= lowest, f'{verb} {lowest} or more', found)
    rule = f'{verb} {lowest} to {highest}, the limit that this model was exported with'
    return each(name, values, (values >= lowest) & (values <= highest), rule, found)
