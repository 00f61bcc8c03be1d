"""The section's equations in NumPy and float64: one-hot rows, a loop over time, gradients by hand, clipping, SGD.

Written from the equations of Dive into Deep Learning (sections 6.2, 6.4, 6.6), with nothing of the project.
"""

import numpy as np

Parameters = dict[str, np.ndarray]

_SLOPES = {'tanh': lambda h: 1 - h**2, 'relu': lambda h: (h > 0).astype(float)}
_FUNCTIONS = {'tanh': np.tanh, 'relu': lambda x: np.maximum(x, 0)}


def loss_and_gradients(
    p: Parameters, inputs: np.ndarray, targets: np.ndarray, state: np.ndarray, activation: str = 'tanh'
) -> tuple[float, Parameters, np.ndarray]:
    """Mean cross-entropy of one minibatch `[B, T]`, its gradients, and the state `[B, H]` after it."""
    batch_size, num_steps = inputs.shape
    one_hot = np.eye(len(p['b_q']))
    hidden, outputs = [state], []
    for t in range(num_steps):
        pre = one_hot[inputs[:, t]] @ p['w_xh'] + hidden[-1] @ p['w_hh'] + p['b_h']
        hidden.append(_FUNCTIONS[activation](pre))
        outputs.append(hidden[-1] @ p['w_hq'] + p['b_q'])

    loss, gradients = 0.0, {name: np.zeros_like(value) for name, value in p.items()}
    d_later = np.zeros_like(state)
    for t in reversed(range(num_steps)):
        shifted = np.exp(outputs[t] - outputs[t].max(1, keepdims=True))
        probabilities = shifted / shifted.sum(1, keepdims=True)
        loss -= np.log(probabilities[np.arange(batch_size), targets[:, t]]).sum() / (batch_size * num_steps)
        d_output = (probabilities - one_hot[targets[:, t]]) / (batch_size * num_steps)
        gradients['w_hq'] += hidden[t + 1].T @ d_output
        gradients['b_q'] += d_output.sum(0)
        d_pre = (d_output @ p['w_hq'].T + d_later) * _SLOPES[activation](hidden[t + 1])
        gradients['w_xh'] += one_hot[inputs[:, t]].T @ d_pre
        gradients['w_hh'] += hidden[t].T @ d_pre
        gradients['b_h'] += d_pre.sum(0)
        d_later = d_pre @ p['w_hh'].T
    return loss, gradients, hidden[-1]


def global_norm(gradients: Parameters) -> float:
    return float(np.sqrt(sum((g**2).sum() for g in gradients.values())))


def clipped_sgd(p: Parameters, gradients: Parameters, learning_rate: float, clip_norm: float) -> Parameters:
    scale = min(clip_norm / global_norm(gradients), 1)
    return {name: p[name] - learning_rate * scale * gradients[name] for name in p}
