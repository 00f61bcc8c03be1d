"""Gradients of weights as products that are not made yet.

The gradient of a weight that multiplies `inputs` is `inputs' d(outputs)`, a product with a transposed first factor. XLA
makes it on a CPU at two thirds of TensorFlow's rate (docs/performance.md). So a compiled function returns the factors,
and TensorFlow multiplies them.
"""

import itertools
from typing import NamedTuple

import tensorflow as tf


class WeightProduct(NamedTuple):
    """A product of the forward pass with a weight `[I, J]`."""

    weight: tf.Variable
    inputs: tuple[tf.Tensor, ...]
    """`[..., I]` for each block of columns of the weight."""
    widths: tuple[int, ...]
    """Columns of each block; J together."""
    outputs: tf.Tensor
    """`[..., J]`, or anything with the same gradient."""


class Factors(NamedTuple):
    """The gradient of a weight: blocks of columns side by side, each `inputs' d_outputs`."""

    inputs: tuple[tf.Tensor, ...]
    """`[N, I]` for each block."""
    d_outputs: tuple[tf.Tensor, ...]
    """`[N, width]` for each block."""


Summands = list[tf.Tensor] | list[Factors]
"""The gradient of a variable, yet to be added up."""


def whole(weight: tf.Variable, inputs: tf.Tensor, outputs: tf.Tensor) -> WeightProduct:
    """Returns the product of one `inputs` with all columns of a weight."""
    return WeightProduct(weight, (inputs,), (weight.shape[-1],), outputs)


def factors(product: WeightProduct, d_outputs: tf.Tensor) -> Factors:
    """Returns the gradient of the weight; `d_outputs [..., J]` is that of the outputs."""
    blocks = tf.split(_rows(d_outputs), product.widths, -1)
    return Factors(tuple(map(_rows, product.inputs)), tuple(blocks))


def multiplied(*gradients: Factors) -> tf.Tensor:
    """Returns the sum of the gradients of a weight, `[I, J]`."""
    blocks = [[tf.matmul(x, d, transpose_a=True) for x, d in zip(*gradient, strict=True)] for gradient in gradients]
    return tf.concat([tf.add_n(block) for block in zip(*blocks, strict=True)], -1)


def summands(
    tape: tf.GradientTape, loss: tf.Tensor, products: list[WeightProduct], variables: list[tf.Variable]
) -> list[Summands]:
    """Returns the gradient of `loss` for each of `variables`.

    `products` has all products with a weight, or none of them: then the tape computes the gradient of that weight.
    """
    multiplied_only = {product.weight.ref() for product in products}
    others = [variable for variable in variables if variable.ref() not in multiplied_only]
    d_outputs, d_others = tape.gradient(loss, ([product.outputs for product in products], others))
    # The gradient of a gather is IndexedSlices with unsummed rows, so its norm would be wrong: make it dense.
    found = {variable.ref(): [tf.convert_to_tensor(d)] for variable, d in zip(others, d_others, strict=True)}
    for product, d in zip(products, d_outputs, strict=True):
        if d is not None:  # the outputs of a context window are not in the loss
            found.setdefault(product.weight.ref(), []).append(factors(product, d))
    return [found[variable.ref()] for variable in variables]


def added(*gradients: Summands) -> tf.Tensor:
    """Returns the sum of the gradients of a variable, such as those of groups of rows."""
    parts = list(itertools.chain(*gradients))
    return multiplied(*parts) if isinstance(parts[0], Factors) else tf.add_n(parts)


def _rows(sequence: tf.Tensor) -> tf.Tensor:
    """`[..., J]` -> `[N, J]`."""
    return tf.reshape(sequence, [-1, sequence.shape[-1]])
