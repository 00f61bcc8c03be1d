"""charrnn.json of a model without a run; `end_to_end_test.py` has that of a run."""

import hashlib
import json
import re

import tensorflow as tf

from export.artifact import description, versions
from tests.conftest import DEFAULT_LENGTH, ROOT


def test_description_of_a_model_without_a_run_has_null_for_the_runs_keys(version_dirs, vocabulary):
    found = json.loads((version_dirs['lstm'] / versions.DESCRIPTION).read_text('utf-8'))
    described_versions = found.pop('versions')
    assert found == {
        'format': 3,
        'vocabulary': vocabulary.characters,
        'unknown_id': None,
        'vocabulary_sha256': hashlib.sha256(vocabulary.characters.encode()).hexdigest(),
        'default_length': DEFAULT_LENGTH,
        'sample': {'length': 200, 'temperature': 0.8, 'top_k': 0, 'top_p': 0.95, 'stop': ''},
        'limits': {'max_length': 1000, 'max_prefix': 1000},
        'state': {'names': ['state_0', 'state_1', 'state_2', 'state_3'], 'size': 16},
        'corpus': None,
        'config': None,
        'checkpoint': None,
        'perplexity': None,
    }
    assert described_versions['tensorflow'] == tf.__version__
    assert f'version = "{described_versions["charrnn"]}"' in (ROOT / 'pyproject.toml').read_text('utf-8')
    keys = re.findall(r'^  (\w+)  +', description.__doc__, re.MULTILINE)
    assert sorted(keys) == sorted([*found, 'versions'])
