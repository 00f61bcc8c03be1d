"""Flags generated from the fields of a dataclass."""

import dataclasses
import subprocess
import sys

import pytest
from absl import flags

from pipeline import train  # noqa: F401 - defines the flags
from pipeline.config import Config, DataConfig, ModelConfig, TrainingConfig
from tests.conftest import ROOT

FIELDS = [field for group in (DataConfig, ModelConfig, TrainingConfig) for field in dataclasses.fields(group)]


@pytest.mark.parametrize('field', FIELDS, ids=lambda field: field.name)
def test_every_setting_has_a_flag_with_its_default_and_help(field):
    flag = flags.FLAGS[field.name]
    default = list(field.default) if isinstance(field.default, tuple) else field.default
    assert (flag.default, type(flag.default)) == (default, type(default))
    assert field.metadata['help'] in flag.help


def test_defaults_of_all_flags_make_the_default_config():
    defaults = {field.name: flags.FLAGS[field.name].default for field in FIELDS}
    assert Config.from_dict(defaults) == Config()


def test_help_lists_generated_flags_as_those_of_the_program():
    command = [sys.executable, '-m', 'pipeline.train', '--help']
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout
    assert all(f'--{field.name}:' in shown or f'--[no]{field.name}:' in shown for field in FIELDS)
