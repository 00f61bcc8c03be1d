"""Optimizers against their published update rules, schedules against their formulas."""

import math

import numpy as np
import pytest
import tensorflow as tf

from pipeline import optimizers
from pipeline.config import TrainingConfig

GRADIENTS = [np.array([0.5, -2.0, 1e-3]), np.array([0.1, 1.0, -3.0]), np.array([-0.7, 0.2, 0.4])]
RATE = 0.25


def _sgd(w, g, memory, t):
    return w - RATE * g


def _momentum(w, g, memory, t):
    memory['v'] = 0.9 * memory.get('v', 0) - RATE * g
    return w + memory['v']


def _adam(w, g, memory, t):
    memory['m'] = 0.9 * memory.get('m', 0) + 0.1 * g
    memory['v'] = 0.999 * memory.get('v', 0) + 0.001 * g**2
    rate = (
        RATE * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
    )  # the form with epsilon-hat: Kingma and Ba 2015, end of section 2
    return w - rate * memory['m'] / (np.sqrt(memory['v']) + 1e-7)


def _adamw(w, g, memory, t):
    return _adam(w - RATE * 0.1 * w, g, memory, t)


def _rmsprop(w, g, memory, t):
    memory['v'] = 0.9 * memory.get('v', 0) + 0.1 * g**2
    return w - RATE * g / np.sqrt(memory['v'] + 1e-7)


def _rmsprop_with_momentum(w, g, memory, t):
    memory['m'] = 0.9 * memory.get('m', 0) + w - _rmsprop(w, g, memory, t)
    return w - memory['m']


@pytest.mark.parametrize(
    ('settings', 'rule'),
    [
        ({}, _sgd),
        ({'momentum': 0.9}, _momentum),
        ({'optimizer': 'adam'}, _adam),
        ({'optimizer': 'adamw', 'weight_decay': 0.1}, _adamw),
        ({'optimizer': 'rmsprop'}, _rmsprop),
        ({'optimizer': 'rmsprop', 'momentum': 0.9}, _rmsprop_with_momentum),
    ],
)
def test_updates_equal_the_published_rule(settings, rule):
    variable = tf.Variable([1.0, -1.0, 0.5])
    optimizer = optimizers.optimizer(TrainingConfig(learning_rate=RATE, **settings), num_steps=3)
    optimizer.build([variable])
    truth, memory = variable.numpy().astype(float), {}
    for t, gradient in enumerate(GRADIENTS, start=1):
        optimizer.apply([tf.constant(gradient, tf.float32)], [variable])
        truth = rule(truth, gradient, memory, t)
    np.testing.assert_allclose(variable, truth, rtol=1e-4)


@pytest.mark.parametrize(
    ('settings', 'fraction_of_rate'),
    [
        ({}, lambda step: 1),
        ({'schedule': 'cosine'}, lambda step: (1 + math.cos(math.pi * step / 100)) / 2),
        ({'schedule': 'exponential'}, lambda step: 0.01 ** (step / 100)),
        ({'warmup_steps': 20}, lambda step: min((step + 1) / 20, 1)),
        (
            {'schedule': 'cosine', 'warmup_steps': 20},
            lambda step: (step + 1) / 20 if step < 20 else (1 + math.cos(math.pi * (step - 20) / 80)) / 2,
        ),
    ],
)
def test_learning_rate_follows_its_formula(settings, fraction_of_rate):
    schedule = optimizers.schedule(TrainingConfig(learning_rate=2.0, **settings), num_steps=100)
    for step in (0, 1, 19, 20, 21, 50, 99):
        assert float(schedule(step)) == pytest.approx(2.0 * fraction_of_rate(step), rel=1e-5, abs=1e-6)


def test_learning_rate_follows_the_length_of_a_run_that_changes():
    num_steps = tf.Variable(100)
    schedule = optimizers.schedule(TrainingConfig(learning_rate=2.0, schedule='cosine', warmup_steps=20), num_steps)
    num_steps.assign(60)
    assert float(schedule(40)) == pytest.approx(1.0)  # half of the 40 steps after the warm-up


def test_optimizer_uses_the_learning_rate_of_each_update():
    variable = tf.Variable([0.0])
    optimizer = optimizers.optimizer(TrainingConfig(learning_rate=1.0, warmup_steps=4), num_steps=10)
    optimizer.build([variable])
    steps = []
    for _ in range(6):
        before = float(variable[0])
        optimizer.apply([tf.constant([-1.0])], [variable])
        steps.append(float(variable[0]) - before)
    np.testing.assert_allclose(steps, [0.25, 0.5, 0.75, 1, 1, 1], rtol=1e-6)
