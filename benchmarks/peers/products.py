"""The rates of a library's matrix products: `python -m benchmarks.peers.products jax bfloat16` (default: float32).

Prints JSON: operations a second by shape. JAX's products run in one compiled loop, so they are those of XLA.
TensorFlow's are its own operation, outside XLA. `taskset -c 0` measures one core.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

SHAPES = {
    'large': (2048, 2048, 2048),
    'output layer': (1120, 256, 1027),
    'step of 32 rows, H = 256': (32, 256, 256),
    'step of 16 rows, H = 256': (16, 256, 256),
    'step of 16 rows, H = 1,024': (16, 1024, 1024),
}
"""m, k, n of `[m, k] x [k, n]`."""
_OPERATIONS = 2e10
_REPEATS = 7

Repeated = Callable[[], object]


def tensorflow(first: np.ndarray, second: np.ndarray, dtype: str, count: int) -> Repeated:
    """Returns a function that makes `count` products."""
    import tensorflow as tf

    left, right = (tf.cast(factor, dtype) for factor in (first, second))

    def repeated() -> np.ndarray:
        for _ in range(count):
            product = tf.matmul(left, right)
        return product.numpy()

    return repeated


def jax(first: np.ndarray, second: np.ndarray, dtype: str, count: int) -> Repeated:
    """As `tensorflow`. Each product needs the one before, because XLA would run them at the same time."""
    import jax
    import jax.numpy as jnp

    left, right = (jnp.asarray(factor, dtype) for factor in (first, second))

    @jax.jit
    def product(left: jax.Array, right: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, count, lambda _, one: one.at[0, 0].set((one @ right)[0, 0]), left)

    return lambda: product(left, right).block_until_ready()


def torch(first: np.ndarray, second: np.ndarray, dtype: str, count: int) -> Repeated:
    """As `tensorflow`."""
    import torch

    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    left, right = (torch.tensor(factor, device=device, dtype=getattr(torch, dtype)) for factor in (first, second))

    def repeated() -> float:
        for _ in range(count):
            product = left @ right
        return product[0, 0].item()

    return repeated


LIBRARIES = {'tensorflow': tensorflow, 'torch': torch, 'jax': jax}


def rate(library: str, shape: tuple[int, int, int], dtype: str) -> float:
    """Returns the median rate of a product, operations a second."""
    m, k, n = shape
    numbers = np.random.default_rng(0)
    operations = 2 * m * k * n
    count = max(1, round(_OPERATIONS / operations))
    first, second = (numbers.standard_normal(size, np.float32) for size in ((m, k), (k, n)))
    repeated = LIBRARIES[library](first, second, dtype, count)
    repeated()
    seconds = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        repeated()
        seconds.append(time.perf_counter() - start)
    return operations * count / statistics.median(seconds)


def main(library: str, dtype: str = 'float32') -> None:
    print(json.dumps({name: rate(library, shape, dtype) for name, shape in SHAPES.items()}))


if __name__ == '__main__':
    main(*sys.argv[1:])
