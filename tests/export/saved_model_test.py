"""The artifact: its signatures to the letter, nothing in it that a server lacks, and the trainer's own text."""

import concurrent.futures
import json
import resource
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from data.errors import InputError
from export.artifact.exporter import export
from pipeline.generate import Generator
from pipeline.limits import Limits
from tests.conftest import DEFAULT_LENGTH as LENGTH
from tests.export.artifact import sample_requests
from tests.export.artifact.sample_requests import PREFIXES

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


STATE = ['state_0']
SIZE = 16


@pytest.fixture(scope='module')
def version_dir(version_dirs):
    return version_dirs['rnn']


@pytest.fixture(scope='module')
def loaded(loaded_models):
    return loaded_models['rnn']


def _meta_graph(version_dir):
    return saved_model_pb2.SavedModel.FromString((version_dir / 'saved_model.pb').read_bytes()).meta_graphs[0]


def _call(function, inputs):
    return {name: value.numpy() for name, value in function(**{k: tf.constant(v) for k, v in inputs.items()}).items()}


def test_a_stranger_gets_the_trainers_text_in_a_ragged_batch_and_alone(version_dir, generator, tmp_path):
    answer = subprocess.run(
        [sys.executable, '-I', '-c', _STRANGER, version_dir, json.dumps(PREFIXES)],
        capture_output=True, check=True, cwd=tmp_path, text=True,
    )  # fmt: skip
    found = json.loads(answer.stdout)
    assert found['project'] == []
    assert found['together'] == generator.texts(PREFIXES, LENGTH)
    assert found['alone'] == found['together']


@pytest.mark.parametrize('cell', ['gru', 'lstm'])
def test_any_cell_and_number_of_layers_is_exported(cell, models, loaded_models, vocabulary):
    signatures = loaded_models[cell].signatures
    texts = [t.decode() for t in signatures['serving_default'](prefix=tf.constant(PREFIXES))['text'].numpy()]
    assert texts == Generator(models[cell], vocabulary).texts(PREFIXES, LENGTH)
    assert len({text[-LENGTH:] for text in texts}) > 1


@pytest.mark.parametrize(('cell', 'num_states'), [('rnn', 1), ('lstm', 4)])
def test_signatures_are_those_of_the_contract(version_dirs, vocabulary, cell, num_states):
    def specs(tensors):
        return {
            name: (tf.as_dtype(info.dtype).name, [d.size for d in info.tensor_shape.dim])
            for name, info in tensors.items()
        }

    row = [-1]
    knobs = {'length': 'int32', 'temperature': 'float32', 'top_k': 'int32', 'top_p': 'float32', 'seed': 'int64'}
    state = {f'state_{n}': ('float32', [-1, SIZE]) for n in range(num_states)}
    expected = {
        'serving_default': ({'prefix': ('string', row)}, {'text': ('string', row)}),
        'generate': (
            {'prefix': ('string', row)} | {name: (kind, row) for name, kind in knobs.items()},
            {'text': ('string', row), 'log_likelihood': ('float32', row)},
        ),
        'score': (
            {'text': ('string', row)},
            {'log_likelihood': ('float32', row), 'num_characters': ('int32', row), 'perplexity': ('float32', row)},
        ),
        'step': ({'ids': ('int32', row)} | state, {'logits': ('float32', [-1, len(vocabulary)])} | state),
    }
    definitions = _meta_graph(version_dirs[cell]).signature_def
    methods = {name: s.method_name for name, s in definitions.items() if s.inputs}
    assert {name: (specs(definitions[name].inputs), specs(definitions[name].outputs)) for name in methods} == expected
    assert set(methods.values()) == {'tensorflow/serving/predict'}


@pytest.mark.parametrize('cell', ['rnn', 'gru', 'lstm'])
def test_has_nothing_that_a_stock_server_refuses(version_dirs, cell):
    graph = _meta_graph(version_dirs[cell]).graph_def
    operations = {node.op for f in graph.library.function for node in f.node_def} | {node.op for node in graph.node}
    assert 'Assert' in operations  # the walk does see inside the functions
    assert not {op for op in operations if op in ('PyFunc', 'EagerPyFunc') or 'Cudnn' in op or 'Batch' in op}
    assert not any(f.attr['_XlaMustCompile'].b for f in graph.library.function)


def test_a_scan_finds_nothing_that_reads_or_writes_files(version_dir):
    command = [sys.executable, '-m', 'tensorflow.python.tools.saved_model_cli', 'scan', '--dir', version_dir]
    scan = subprocess.run([*command, '--tag_set', 'serve'], capture_output=True, text=True, check=True)
    assert 'does not contain the default denylisted ops' in scan.stdout


@pytest.mark.parametrize('signature', ['serving_default', 'generate', 'score', 'step'])
def test_a_row_is_answered_alike_alone_in_a_mixed_batch_and_beside_copies(loaded, signature):
    """Text, counts and choices are equal; of the sums, a matrix product of one row may round its own way."""
    function = loaded.signatures[signature]
    inputs = sample_requests.mixed(32, STATE, SIZE)[signature]
    together = _call(function, inputs)
    for row in range(32):
        alone = {name: value[row : row + 1] for name, value in inputs.items()}
        padded = {name: np.repeat(value, 4, 0) for name, value in alone.items()}
        for found in (_call(function, alone), _call(function, padded)):
            for name, value in found.items():
                expected = np.repeat(together[name][row : row + 1], len(value), 0)
                if value.dtype.kind == 'f':
                    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-5, err_msg=f'{name}[{row}]')
                else:
                    np.testing.assert_array_equal(value, expected, err_msg=f'{name}[{row}]')


def test_step_by_step_comes_out_what_generate_makes(loaded, vocabulary):
    step, prefix = loaded.signatures['step'], '不分开 你'
    expected = _call(loaded.signatures['serving_default'], {'prefix': sample_requests.strings(prefix)})
    text, following, state = '', '', {name: tf.zeros([1, SIZE]) for name in STATE}
    for _ in range(len(prefix) + LENGTH):
        text += prefix[len(text)] if len(text) < len(prefix) else following
        state = dict(step(ids=tf.constant(vocabulary.encode(text[-1])), **state))
        following = vocabulary.decode(tf.argmax(state.pop('logits'), -1).numpy())
    assert text == expected['text'][0].decode()


def test_scores_what_it_generated_however_long_the_request(model, vocabulary, tmp_path):
    """The limits of a text are those of a prefix and a length together."""
    limits = Limits(max_length=6, max_prefix=4)
    signatures = tf.saved_model.load(str(export(model, vocabulary, tmp_path, 6, limits))).signatures
    text = _call(signatures['serving_default'], {'prefix': sample_requests.strings('分开分开')})['text']
    assert _call(signatures['score'], {'text': text})['num_characters'] == [9]
    with pytest.raises(tf.errors.InvalidArgumentError, match=r'text\[0\] has 11 characters; it must have 2 to 10'):
        _call(signatures['score'], {'text': sample_requests.strings(text[0].decode() + '分')})


@pytest.mark.parametrize('case', sample_requests.bad(), ids=lambda case: f'{case[0]} {case[2][:25]}')
def test_refuses_a_bad_row_and_its_check_refuses_it_alike(loaded, case):
    signature, changed, message = case
    inputs = {k: tf.constant(v) for k, v in sample_requests.broken(signature, changed, STATE, SIZE).items()}
    for function in (loaded.signatures[signature], getattr(loaded, f'check_{signature}')):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            function(**inputs)


@pytest.mark.parametrize('signature', ['serving_default', 'generate', 'score'])
@pytest.mark.parametrize(('character', 'message'), [('分', r'\[7\] has 250000 characters'), ('囧', r'\[7\] contains')])
def test_one_long_row_is_refused_before_the_others_are_filled_up_to_it(loaded, signature, character, message):
    inputs = sample_requests.mixed(2048, STATE, SIZE)[signature]
    text = 'text' if signature == 'score' else 'prefix'
    inputs[text][7] = (character * 250_000).encode()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for function in (loaded.signatures[signature], getattr(loaded, f'check_{signature}')):
        with pytest.raises(tf.errors.InvalidArgumentError, match=text + message):
            function(**{k: tf.constant(v) for k, v in inputs.items()})
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20  # KiB; to fill them takes twice that


@pytest.mark.parametrize('signature', ['serving_default', 'generate', 'score', 'step'])
def test_a_check_counts_the_rows_and_does_none_of_the_work(loaded, signature):
    check = getattr(loaded, f'check_{signature}')
    inputs = sample_requests.mixed(5, STATE, SIZE)[signature]
    assert check(**{k: tf.constant(v) for k, v in inputs.items()}).numpy() == 5
    (concrete,) = check.concrete_functions
    nodes = [n.op for f in concrete.graph.as_graph_def().library.function for n in f.node_def]
    nodes += [n.op for n in concrete.graph.as_graph_def().node]
    assert 'Assert' in nodes
    assert not {'MatMul', 'While', 'StatelessWhile'} & set(nodes)


def test_a_default_above_the_limit_is_refused(model, vocabulary, tmp_path):
    with pytest.raises(InputError, match=r'sample_length=30 .* above --max_length=20: give a larger --max_length'):
        export(model, vocabulary, tmp_path, 30, Limits(max_length=20))


@pytest.mark.parametrize('limits', [{'max_length': 0}, {'max_prefix': 0}, {'max_length': 1_000_001}])
def test_limits_that_are_none_are_refused(limits):
    with pytest.raises(InputError, match=r'max_\w+=\d+ must be between 1 and 1000000'):
        Limits(**limits)


def test_a_server_that_watches_never_sees_half_a_version(model, vocabulary, tmp_path):
    """Whenever a directory has an integer for a name, it has all its files."""
    seen, over = {}, threading.Event()

    def watch():
        while not over.wait(0.002):
            for path in tmp_path.glob('[0-9]*'):
                seen.setdefault(path.name, {file.relative_to(path) for file in path.rglob('*')})

    with concurrent.futures.ThreadPoolExecutor() as pool:
        watching = pool.submit(watch)
        try:
            version_dir = export(model, vocabulary, tmp_path, 1)
            while version_dir.name not in seen and not watching.done():
                time.sleep(0.001)
        finally:
            over.set()
        watching.result(timeout=60)
    files = {file.relative_to(version_dir) for file in version_dir.rglob('*')}
    assert seen == {version_dir.name: files}
    assert {'saved_model.pb', 'charrnn.json', 'tf_serving_warmup_requests'} <= {file.name for file in files}


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
    with pytest.raises(InputError, match=r'model_dir .* cannot be written: no space left. Make room'):
        export(model, vocabulary, tmp_path, 1)
    assert list(tmp_path.iterdir()) == []
