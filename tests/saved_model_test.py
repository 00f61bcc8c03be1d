"""The artifact: its signatures to the letter, nothing in it that a server lacks, and the trainer's own text."""

import json
import subprocess
import sys

import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from export.saved_model import export
from pipeline.config import ModelConfig
from pipeline.generate import Generator
from pipeline.model import CharRNN

PREFIXES = [
    '分',
    '分开',
    '不分开',
    '山一程 水',
    '风把灯吹灭 雪',
    '你',
    '我在河那边 ',
    '雪把',
    ' ',
    '河这边 我在河那边 分',
]
LENGTH = 30

# Run by a fresh interpreter that has never heard of the project.
_STRANGER = """
import json, sys
import tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
prefixes = json.loads(sys.argv[2])
default = model.signatures['serving_default']
texts = lambda some: [t.decode() for t in default(prefix=tf.constant(some))['text'].numpy()]
project = [m for m in sys.modules if m.split('.')[0] in ('data', 'pipeline', 'export')]
print(json.dumps({'together': texts(prefixes), 'alone': [texts([p])[0] for p in prefixes], 'project': project}))
"""


@pytest.fixture(scope='module')
def version_dir(model, vocabulary, tmp_path_factory):
    return export(model, vocabulary, tmp_path_factory.mktemp('model'), default_length=LENGTH)


@pytest.fixture(scope='module')
def signatures(version_dir):
    loaded = tf.saved_model.load(str(version_dir))
    return {**loaded.signatures, '_keep_alive': loaded}


@pytest.fixture(scope='module')
def meta_graph(version_dir):
    saved_model = saved_model_pb2.SavedModel.FromString((version_dir / 'saved_model.pb').read_bytes())
    return saved_model.meta_graphs[0]


def test_a_stranger_gets_the_trainers_text_in_a_ragged_batch_and_alone(version_dir, generator, tmp_path):
    answer = subprocess.run(
        [sys.executable, '-I', '-c', _STRANGER, version_dir, json.dumps(PREFIXES)],
        capture_output=True, check=True, cwd=tmp_path, text=True,
    )  # fmt: skip
    found = json.loads(answer.stdout)
    assert found['project'] == []
    assert found['together'] == generator.texts(PREFIXES, LENGTH)
    assert found['alone'] == found['together']


@pytest.mark.parametrize(('cell', 'num_layers'), [('gru', 1), ('lstm', 2)])
def test_any_cell_and_number_of_layers_is_exported(cell, num_layers, vocabulary, tmp_path):
    config = ModelConfig(cell=cell, num_layers=num_layers, hidden_size=16, init_scale=0.5)
    model = CharRNN(config, len(vocabulary), seed=3)
    loaded = tf.saved_model.load(str(export(model, vocabulary, tmp_path, default_length=LENGTH)))
    texts = [t.decode() for t in loaded.signatures['serving_default'](prefix=tf.constant(PREFIXES))['text'].numpy()]
    assert texts == Generator(model, vocabulary).texts(PREFIXES, LENGTH)
    assert len({text[-LENGTH:] for text in texts}) > 1


def test_signatures_are_those_of_the_contract(meta_graph):
    def specs(tensors):
        return {
            name: (tf.as_dtype(info.dtype).name, [d.size for d in info.tensor_shape.dim])
            for name, info in tensors.items()
        }

    row = [-1]
    knobs = {'length': 'int32', 'temperature': 'float32', 'top_k': 'int32', 'top_p': 'float32', 'seed': 'int64'}
    expected = {
        'serving_default': ({'prefix': ('string', row)}, {'text': ('string', row)}),
        'generate': (
            {'prefix': ('string', row)} | {name: (kind, row) for name, kind in knobs.items()},
            {'text': ('string', row), 'log_likelihood': ('float32', row)},
        ),
    }
    found = {name: (specs(s.inputs), specs(s.outputs)) for name, s in meta_graph.signature_def.items() if s.inputs}
    assert found == expected


def test_has_nothing_that_a_stock_server_refuses(meta_graph):
    library = meta_graph.graph_def.library.function
    operations = {node.op for f in library for node in f.node_def} | {node.op for node in meta_graph.graph_def.node}
    assert 'Assert' in operations  # the walk does see inside the functions
    assert not {op for op in operations if op in ('PyFunc', 'EagerPyFunc') or 'Cudnn' in op or 'Batch' in op}
    assert not any(f.attr['_XlaMustCompile'].b for f in library)


def test_generate_takes_every_knob_by_row(signatures, generator):
    answer = signatures['generate'](
        prefix=tf.constant(['分开', '山']),
        length=tf.constant([5, 9]),
        temperature=tf.constant([1.0, 0.0]),
        top_k=tf.constant([3, 0]),
        top_p=tf.constant([1.0, 0.9]),
        seed=tf.constant([8, 9], tf.int64),
    )
    first = generator.texts(['分开'], 5, temperature=1.0, top_k=3, seed=8)
    second = generator.texts(['山'], 9)
    assert [text.decode() for text in answer['text'].numpy()] == first + second
    assert answer['log_likelihood'].shape == [2]


@pytest.mark.parametrize(('prefix', 'message'), [('', 'has 0 characters'), ('囧', r'U\+56E7'), (b'\xff', r'U\+FFFD')])
def test_refuses_by_itself_what_it_cannot_continue(signatures, prefix, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=rf'prefix\[1\] .*{message}'):
        signatures['serving_default'](prefix=tf.constant(['分', prefix]))


def test_each_export_is_the_next_version_and_leaves_nothing_else(model, vocabulary, tmp_path):
    (tmp_path / '7').mkdir()
    (tmp_path / 'notes').mkdir()
    assert export(model, vocabulary, tmp_path, 1).name == '8'
    assert sorted(p.name for p in tmp_path.iterdir()) == ['7', '8', 'notes']


def test_a_failed_export_leaves_no_version(model, vocabulary, tmp_path, monkeypatch):
    def full_disk(artifact, path, signatures):
        tf.io.gfile.makedirs(f'{path}/variables')
        raise tf.errors.ResourceExhaustedError(None, None, 'no space left')

    monkeypatch.setattr(tf.saved_model, 'save', full_disk)
    with pytest.raises(tf.errors.ResourceExhaustedError):
        export(model, vocabulary, tmp_path, 1)
    assert list(tmp_path.iterdir()) == []
