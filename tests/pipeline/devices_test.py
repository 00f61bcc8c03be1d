"""Devices, as far as a machine without a GPU can show: the calls to TensorFlow that choose them."""

import os
import pathlib
import subprocess
import sys

import pytest
import tensorflow as tf

from export import generate
from export.artifact import from_run
from export.artifact.sample_settings import SampleSettings
from export.server import process
from export.server.options import Options
from pipeline import devices
from pipeline.limits import Limits
from tests.conftest import ROOT


class _Gpus:
    """Stands for `tf.config` on a machine with two GPUs; records what was set."""

    def __init__(self):
        self.gpus = [tf.config.PhysicalDevice(f'/physical_device:GPU:{n}', 'GPU') for n in range(2)]
        self.visible, self.growing, self.tf32 = self.gpus, [], True
        self.experimental = self

    def list_physical_devices(self, kind):
        assert kind == 'GPU'
        return self.gpus

    def set_visible_devices(self, shown, kind):
        assert kind == 'GPU'
        self.visible = shown

    def get_visible_devices(self, kind):
        assert kind == 'GPU'
        return self.visible

    def set_memory_growth(self, gpu, growing):
        self.growing += [gpu] * growing

    def enable_tensor_float_32_execution(self, enabled):
        self.tf32 = enabled

    def get_device_details(self, gpu):
        return {'device_name': f'NVIDIA {gpu.name[-1]}'}


@pytest.fixture
def gpus(monkeypatch):
    gpus = _Gpus()
    monkeypatch.setattr(tf, 'config', gpus)
    return gpus


def test_training_takes_one_gpu_whose_memory_grows_and_exact_products(gpus):
    assert devices.prepare() == 'GPU (NVIDIA 0)'
    assert (gpus.visible, gpus.growing, gpus.tf32) == (gpus.gpus[:1], gpus.gpus[:1], False)


@pytest.mark.parametrize('has_gpu', [False, True])
def test_flags_of_xla_are_added_and_those_of_the_user_stay(gpus, monkeypatch, has_gpu):
    gpus.gpus = gpus.gpus if has_gpu else []
    own = devices._UNROLL if has_gpu else devices._IN_ORDER
    for given, expected in (
        ('', own),
        ('--xla_dump_to=/tmp', f'--xla_dump_to=/tmp {own}'),
        (f'{own.partition("=")[0]}=x', f'{own.partition("=")[0]}=x'),
    ):
        monkeypatch.setenv('XLA_FLAGS', given)
        devices.prepare()
        assert os.environ['XLA_FLAGS'] == expected


def test_cpu_leaves_all_gpus(gpus):
    devices.use_cpu()
    assert gpus.visible == []


@pytest.mark.parametrize(
    ('cores', 'batch_size', 'hidden_size', 'expected'),
    [
        *[(1, 32, 256, 1), (2, 31, 256, 1), (2, 32, 256, 2), (2, 33, 256, 1), (3, 32, 256, 2), (3, 45, 256, 1)],
        *[(16, 256, 256, 2), (2, 32, 1023, 2), (2, 32, 1024, 1), (2, 256, 2048, 1)],
    ],
)
def test_two_cores_of_a_cpu_have_rows(monkeypatch, cores, batch_size, hidden_size, expected):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda _: set(range(cores)))
    assert devices.num_row_groups(batch_size, hidden_size) == expected
    assert devices.compiles_whole_calls(batch_size, hidden_size) == (expected == 1 and hidden_size < 1024)


@pytest.mark.parametrize(
    ('info', 'hidden_size', 'expected'),
    [
        ('vendor_id\t: GenuineIntel\n', 1024, True),
        ('vendor_id\t: GenuineIntel\n', 1023, False),
        ('vendor_id\t: AuthenticAMD\n', 1024, False),
        (None, 1024, False),  # no such file, as on a Mac
    ],
)
def test_large_weights_are_transposed_on_cpus_of_intel(monkeypatch, tmp_path, info, hidden_size, expected):
    path = tmp_path / 'cpuinfo'
    if info:
        path.write_text(info)
    monkeypatch.setattr(devices, '_CPU_INFO', path)
    assert devices.stores_transposed(hidden_size) == expected


def test_gpu_has_all_rows_together(gpus, monkeypatch):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda _: set(range(8)))
    assert devices.num_row_groups(64, 256) == 1
    assert devices.compiles_whole_calls(64, 256)
    assert devices.compiles_whole_calls(64, 2048)


def test_weights_on_a_gpu_are_not_transposed_for_the_cache_of_the_cpu(gpus, monkeypatch, tmp_path):
    (tmp_path / 'cpuinfo').write_text('vendor_id\t: GenuineIntel\n')
    monkeypatch.setattr(devices, '_CPU_INFO', tmp_path / 'cpuinfo')
    assert not devices.stores_transposed(1024)


@pytest.mark.parametrize('has_driver', [False, True])
def test_driver_without_a_gpu_is_said(gpus, monkeypatch, tmp_path, has_driver):
    gpus.gpus = []
    driver = tmp_path / 'nvidiactl'
    monkeypatch.setattr(devices, '_DRIVERS', (str(driver),))
    if has_driver:
        driver.touch()
    found = devices.prepare()
    assert found.startswith('CPU')
    assert ('there is an NVIDIA driver' in found) == has_driver


def test_prepare_may_follow_operations():
    """Where nothing changes; so programs that run in one process do not disturb each other."""
    tf.zeros([1])
    devices.prepare()
    devices.prepare()
    assert not tf.config.experimental.tensor_float_32_execution_enabled()


@pytest.mark.parametrize(
    'program',
    [
        lambda: from_run.export_run(None, pathlib.Path('x'), None, Limits(), SampleSettings(), 0),
        lambda: generate._load(pathlib.Path('nowhere')),
        lambda: process.serve([], Options()),
    ],
    ids=['export', 'generate', 'serve'],
)
def test_export_generation_and_server_use_the_cpu(monkeypatch, program):
    """Before they do anything else."""

    class CalledError(Exception):
        pass

    def called() -> None:
        raise CalledError

    monkeypatch.setattr(devices, 'use_cpu', called)
    with pytest.raises(CalledError):
        program()


def test_makefile_looks_for_the_same_driver():
    makefile = (ROOT / 'Makefile').read_text('utf-8')
    assert f'$(wildcard {" ".join(devices._DRIVERS)})' in makefile


_TWO_CPUS = """
import numpy as np
import tensorflow as tf
(cpu,) = tf.config.list_physical_devices('CPU')
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from data.ids import Ids
from data.vocabulary import Vocabulary
from data.windows import Windows
from pipeline.config import ModelConfig, TrainingConfig
from pipeline.generate import Generator
from pipeline.model import CharRNN
from pipeline.samples import Samples
from pipeline.trainer import Trainer

vocabulary = Vocabulary('abcd')
with tf.device('CPU:1'):
    model = CharRNN(ModelConfig(hidden_size=8, init_scale=1.0), 4, seed=1)
    trainer = Trainer(model, Windows(60, 2, 5), TrainingConfig(num_epochs=2, jit=False))
    ids = Ids.of(np.arange(60) % 4)
    for _ in trainer.train(ids):
        pass
    samples = Samples(model, vocabulary)
    texts = samples.texts(('a', 'bc'), 9)
assert texts == Generator(model, vocabulary).texts(('a', 'bc'), 9)
small = [trainer.epoch_sums, trainer.point_sums, trainer.reported_step, *trainer.early_stopping.variables]
for device, variables in (('CPU:1', model.variables), ('CPU:0', [*samples._copy.variables, *small])):
    assert {variable.device[-5:] for variable in variables} == {device}, device
graph = samples._generator._compiled[False].get_concrete_function()
assert {variable.device[-5:] for variable in graph.variables} == {'CPU:0'}
print('done')
"""


@pytest.mark.slow
def test_training_is_on_the_device_and_all_else_on_the_host(program_environment):
    """A second logical CPU stands for the GPU."""
    found = subprocess.run(
        [sys.executable, '-c', _TWO_CPUS], env=program_environment, capture_output=True, text=True, check=False
    )
    assert found.stdout == 'done\n', found.stderr
