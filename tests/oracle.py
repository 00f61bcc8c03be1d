"""The section's equations in NumPy and float64: one-hot rows, a loop over time, gradients by hand, clipping, SGD.

Written from the equations of Dive into Deep Learning (sections 6.2, 6.4, 6.6 to 6.8, 6.10), with nothing of the project
but its names: `w_xh`, `w_hh`, `b_h` of the first layer, `w_xh_2`, ... of the second, each gate's columns side by side.
"""

import numpy as np

Parameters = dict[str, np.ndarray]
State = tuple[np.ndarray, ...]


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


class _RNN:
    num_gates, num_parts = 1, 1

    def __init__(self, function, slope):
        self.function, self.slope = function, slope

    def forward(self, x, state, w_x, w_h, b):
        new = self.function(x @ w_x[0] + state[0] @ w_h[0] + b[0])
        return (new,), (state[0], new)

    def backward(self, d_state, cache, w_h):
        """-> what the pre-activations of each gate, the left sides of each recurrent product, and the state get."""
        before, new = cache
        d_pre = d_state[0] * self.slope(new)
        return [d_pre], [before], (d_pre @ w_h[0].T,)


class _GRU:
    """z, r, h~: the reset gate before the product."""

    num_gates, num_parts = 3, 1

    def forward(self, x, state, w_x, w_h, b):
        (h,) = state
        z = _sigmoid(x @ w_x[0] + h @ w_h[0] + b[0])
        r = _sigmoid(x @ w_x[1] + h @ w_h[1] + b[1])
        candidate = np.tanh(x @ w_x[2] + (r * h) @ w_h[2] + b[2])
        return (z * h + (1 - z) * candidate,), (h, z, r, candidate)

    def backward(self, d_state, cache, w_h):
        (d_new,), (h, z, r, candidate) = d_state, cache
        d_z = d_new * (h - candidate) * z * (1 - z)
        d_candidate = d_new * (1 - z) * (1 - candidate**2)
        d_reset_h = d_candidate @ w_h[2].T
        d_r = d_reset_h * h * r * (1 - r)
        d_h = d_new * z + d_reset_h * r + d_z @ w_h[0].T + d_r @ w_h[1].T
        return [d_z, d_r, d_candidate], [h, h, r * h], (d_h,)


class _LSTM:
    """i, f, o, c~; the state is (h, c)."""

    num_gates, num_parts = 4, 2

    def forward(self, x, state, w_x, w_h, b):
        h, c = state
        i, f, o = (_sigmoid(x @ w_x[g] + h @ w_h[g] + b[g]) for g in range(3))
        candidate = np.tanh(x @ w_x[3] + h @ w_h[3] + b[3])
        new = f * c + i * candidate
        return (o * np.tanh(new), new), (h, c, i, f, o, candidate, new)

    def backward(self, d_state, cache, w_h):
        (d_h, d_c), (h, c, i, f, o, candidate, new) = d_state, cache
        d_new = d_c + d_h * o * (1 - np.tanh(new) ** 2)
        d_pre = [
            d_new * candidate * i * (1 - i),
            d_new * c * f * (1 - f),
            d_h * np.tanh(new) * o * (1 - o),
            d_new * i * (1 - candidate**2),
        ]
        return d_pre, [h] * 4, (sum(d @ w.T for d, w in zip(d_pre, w_h, strict=True)), d_new * f)


_CELLS = {
    'tanh': _RNN(np.tanh, lambda h: 1 - h**2),
    'relu': _RNN(lambda x: np.maximum(x, 0), lambda h: (h > 0).astype(float)),
    'gru': _GRU(),
    'lstm': _LSTM(),
}


def without_embeddings(p: Parameters, tied: bool) -> Parameters:
    """The weights of the model on one-hot rows that computes the same: embeddings are multiplied out."""
    if 'embedding' not in p:
        return p
    output = p.get('w_hq', np.eye(len(p['w_hh']))) @ p['embedding'].T if tied else p['w_hq']
    return p | {'w_xh': p['embedding'] @ p['w_xh'], 'w_hq': output}


def _layer_names(p: Parameters) -> list[list[str]]:
    suffixes = ['', *(f'_{number}' for number in range(2, len(p)) if f'w_xh_{number}' in p)]
    return [[f'{name}{suffix}' for name in ('w_xh', 'w_hh', 'b_h')] for suffix in suffixes]


def loss_and_gradients(
    p: Parameters, inputs: np.ndarray, targets: np.ndarray, state: State, cell: str = 'tanh'
) -> tuple[float, Parameters, State]:
    """Mean cross-entropy of one minibatch `[B, T]`, its gradients, and the state, each part `[B, H]`, after it.

    `cell` is tanh or relu for the simple recurrence, gru or lstm.
    """
    cell, layers = _CELLS[cell], _layer_names(p)
    gates = [[np.split(p[name], cell.num_gates, -1) for name in names] for names in layers]
    batch_size, num_steps = inputs.shape
    one_hot = np.eye(len(p['b_q']))
    states = [state[n : n + cell.num_parts] for n in range(0, len(state), cell.num_parts)]
    outputs, reads, caches = [], [], []
    for t in range(num_steps):
        x = one_hot[inputs[:, t]]
        for n, weights in enumerate(gates):
            reads.append(x)
            states[n], cache = cell.forward(x, states[n], *weights)
            caches.append(cache)
            x = states[n][0]
        outputs.append((x, x @ p['w_hq'] + p['b_q']))

    loss, gradients = 0.0, {name: np.zeros_like(value) for name, value in p.items()}
    d_states = [tuple(np.zeros_like(part) for part in parts) for parts in states]
    for t in reversed(range(num_steps)):
        hidden, output = outputs[t]
        shifted = np.exp(output - output.max(1, keepdims=True))
        probabilities = shifted / shifted.sum(1, keepdims=True)
        loss -= np.log(probabilities[np.arange(batch_size), targets[:, t]]).sum() / (batch_size * num_steps)
        d_output = (probabilities - one_hot[targets[:, t]]) / (batch_size * num_steps)
        gradients['w_hq'] += hidden.T @ d_output
        gradients['b_q'] += d_output.sum(0)
        d_above = d_output @ p['w_hq'].T
        for n in reversed(range(len(layers))):
            (w_x, w_h, _), (name_x, name_h, name_b) = gates[n], layers[n]
            d_hidden, *others = d_states[n]
            d_pre, left, d_states[n] = cell.backward((d_hidden + d_above, *others), caches.pop(), w_h)
            read = reads.pop()
            gradients[name_x] += np.concatenate([read.T @ d for d in d_pre], -1)
            gradients[name_h] += np.concatenate([h.T @ d for h, d in zip(left, d_pre, strict=True)], -1)
            gradients[name_b] += np.concatenate([d.sum(0) for d in d_pre], -1)
            d_above = sum(d @ w.T for d, w in zip(d_pre, w_x, strict=True))
    return loss, gradients, tuple(part for parts in states for part in parts)


def global_norm(gradients: Parameters) -> float:
    return float(np.sqrt(sum((g**2).sum() for g in gradients.values())))


def clipped_sgd(p: Parameters, gradients: Parameters, learning_rate: float, clip_norm: float) -> Parameters:
    scale = min(clip_norm / global_norm(gradients), 1)
    return {name: p[name] - learning_rate * scale * gradients[name] for name in p}
