"""JAX: `lax.scan` over the time steps and over the updates, one `jit` an epoch.

A one-hot row times `w_xh` is a gather here, too. The gradient is JAX's.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.peers.task import Task

Weights = dict[str, jax.Array]


def rnn(projected, state, w_hh):
    return (jnp.tanh(projected + state[0] @ w_hh),)


def gru(projected, state, w_hh):
    (hidden,) = state
    size = hidden.shape[-1]
    gates = jax.nn.sigmoid(projected[:, : 2 * size] + hidden @ w_hh[:, : 2 * size])
    update, reset = jnp.split(gates, 2, -1)
    candidate = jnp.tanh(projected[:, 2 * size :] + (reset * hidden) @ w_hh[:, 2 * size :])
    return (update * hidden + (1 - update) * candidate,)


def lstm(projected, state, w_hh):
    hidden, memory = state
    size = hidden.shape[-1]
    pre = projected + hidden @ w_hh
    input_gate, forget_gate, output_gate = jnp.split(jax.nn.sigmoid(pre[:, : 3 * size]), 3, -1)
    memory = forget_gate * memory + input_gate * jnp.tanh(pre[:, 3 * size :])
    return output_gate * jnp.tanh(memory), memory


CELLS = {'rnn': rnn, 'gru': gru, 'lstm': lstm}


def make_epoch(task: Task):
    """Returns `(weights, inputs, targets) -> (weights, mean loss)`."""
    settings = task.settings
    cell, size = CELLS[settings['cell']], settings['hidden_size']
    num_parts = 2 if settings['cell'] == 'lstm' else 1

    def loss_of(weights: Weights, inputs: jax.Array, targets: jax.Array) -> jax.Array:
        below = inputs.T
        for suffix in task.suffixes:
            w_xh, w_hh, b_h = (weights[name + suffix] for name in ('w_xh', 'w_hh', 'b_h'))
            projected = (w_xh[below] if jnp.issubdtype(below.dtype, jnp.integer) else below @ w_xh) + b_h

            def step(state, projected, w_hh=w_hh):
                state = cell(projected, state, w_hh)
                return state, state[0]

            zeros = (jnp.zeros([inputs.shape[0], size]),) * num_parts
            _, below = jax.lax.scan(step, zeros, projected)
        logits = below @ weights['w_hq'] + weights['b_q']
        chosen = jnp.take_along_axis(logits, targets.T[..., jnp.newaxis], -1)[..., 0]
        return (jax.nn.logsumexp(logits, -1) - chosen).mean()

    def update(weights: Weights, minibatch):
        loss, gradients = jax.value_and_grad(loss_of)(weights, *minibatch)
        norm = jnp.sqrt(sum(jnp.sum(g * g) for g in gradients.values()))
        scale = settings['learning_rate'] * jnp.minimum(settings['clip_norm'] / norm, 1)
        return {name: weight - scale * gradients[name] for name, weight in weights.items()}, loss

    def epoch(weights: Weights, inputs: jax.Array, targets: jax.Array):
        weights, losses = jax.lax.scan(update, weights, (inputs, targets))
        return weights, losses.mean()

    return jax.jit(epoch, donate_argnums=0)


def main(path: str) -> None:
    task = Task.read(path)
    train = make_epoch(task)
    weights = {name: jnp.asarray(weight) for name, weight in task.weights.items()}

    def epoch(inputs: np.ndarray, targets: np.ndarray) -> float:
        nonlocal weights
        weights, loss = train(weights, inputs, targets)
        return float(loss)

    task.run(f'JAX {jax.__version__}', epoch)


if __name__ == '__main__':
    main(*sys.argv[1:])
