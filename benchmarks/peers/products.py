"""The rate of a library's matrix products in float32: `python -m benchmarks.peers.products jax`.

The shapes are a large square, and the product of the output layer for the section's minibatch.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

SHAPES = ((2048, 2048, 2048), (1120, 256, 1027))
_OPERATIONS = 4e10
_REPEATS = 7

Product = Callable[[np.ndarray, np.ndarray, int], Callable[[], object]]


def tensorflow(first: np.ndarray, second: np.ndarray, count: int) -> Callable[[], object]:
    """TensorFlow's own operation, outside XLA, which is its faster one."""
    import tensorflow as tf

    left, right = tf.constant(first), tf.constant(second)

    def repeated() -> np.ndarray:
        for _ in range(count):
            product = tf.matmul(left, right)
        return product.numpy()

    return repeated


def jax(first: np.ndarray, second: np.ndarray, count: int) -> Callable[[], object]:
    import jax
    import jax.numpy as jnp

    left, right = jnp.asarray(first), jnp.asarray(second)
    product = jax.jit(jnp.matmul)

    def repeated() -> object:
        for _ in range(count):
            found = product(left, right)
        return found.block_until_ready()

    return repeated


def torch(first: np.ndarray, second: np.ndarray, count: int) -> Callable[[], object]:
    import torch

    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    left, right = torch.tensor(first, device=device), torch.tensor(second, device=device)

    def repeated() -> object:
        for _ in range(count):
            product = left @ right
        return product[0, 0].item()

    return repeated


LIBRARIES: dict[str, Product] = {'tensorflow': tensorflow, 'torch': torch, 'jax': jax}


def rate(library: Product, shape: tuple[int, int, int]) -> float:
    """Returns the median rate of `[m, k] x [k, n]`, operations a second."""
    m, k, n = shape
    numbers = np.random.default_rng(0)
    operations = 2 * m * k * n
    count = max(1, round(_OPERATIONS / operations))
    first, second = (numbers.standard_normal(size, np.float32) for size in ((m, k), (k, n)))
    repeated = library(first, second, count)
    repeated()
    seconds = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        repeated()
        seconds.append(time.perf_counter() - start)
    return operations * count / statistics.median(seconds)


if __name__ == '__main__':
    print(json.dumps({'rate': max(rate(LIBRARIES[sys.argv[1]], shape) for shape in SHAPES)}))
