"""The artifact: exact signatures, only operations that every server has, and the same text as the trainer."""

import json
import resource
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from export.artifact import versions
from export.artifact.artifact import Artifact
from export.artifact.exporter import export
from export.artifact.sample_settings import SampleSettings
from pipeline.generate import Generator
from pipeline.limits import Limits
from tests.conftest import DEFAULT_LENGTH as LENGTH
from tests.export.artifact import sample_requests
from tests.export.artifact.sample_requests import PREFIXES

pytestmark = pytest.mark.slow

# Runs in a new interpreter without the project on its path.
_PROGRAM_WITHOUT_PROJECT = """
import json, sys
import tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
prefixes = json.loads(sys.argv[2])
default = model.signatures['serving_default']
texts = lambda some: [t.decode() for t in default(prefix=tf.constant(some))['text'].numpy()]
knobs = {'length': [9], 'temperature': [1.0], 'top_k': [0], 'top_p': [0.9], 'stop': ['']}
knobs = {name: tf.constant(value) for name, value in knobs.items()} | {'seed': tf.constant([1], tf.int64)}
model.signatures['generate'](prefix=tf.constant(prefixes[:1]), **knobs)
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
    return saved_model_pb2.SavedModel.FromString((version_dir / versions.SAVED_MODEL).read_bytes()).meta_graphs[0]


def _call(function, inputs):
    return {name: value.numpy() for name, value in function(**{k: tf.constant(v) for k, v in inputs.items()}).items()}


def test_text_without_the_project_equals_the_trainers_in_a_ragged_batch_and_alone(version_dir, generator, tmp_path):
    answer = subprocess.run(
        [sys.executable, '-I', '-c', _PROGRAM_WITHOUT_PROJECT, version_dir, json.dumps(PREFIXES)],
        capture_output=True, check=True, cwd=tmp_path, text=True,
    )  # fmt: skip
    found = json.loads(answer.stdout)
    assert found['project'] == []
    assert 'Error' not in answer.stderr  # as TensorFlow prints it for a tensor whose rank it does not know
    assert found['together'] == generator.texts(PREFIXES, LENGTH)
    assert found['alone'] == found['together']


@pytest.mark.parametrize('cell', ['gru', 'lstm'])
def test_every_cell_generates_the_trainers_text(cell, models, loaded_models, vocabulary):
    signatures = loaded_models[cell].signatures
    texts = [t.decode() for t in signatures['serving_default'](prefix=tf.constant(PREFIXES))['text'].numpy()]
    assert texts == Generator(models[cell], vocabulary).texts(PREFIXES, LENGTH)
    assert len({text[-LENGTH:] for text in texts}) > 1


@pytest.mark.parametrize(('cell', 'num_states'), [('rnn', 1), ('lstm', 4)])
def test_signatures_are_exactly_those_of_the_contract(version_dirs, vocabulary, cell, num_states):
    def specs(tensors):
        return {
            name: (tf.as_dtype(info.dtype).name, [d.size for d in info.tensor_shape.dim])
            for name, info in tensors.items()
        }

    row = [-1]
    knobs = {'length': 'int32', 'temperature': 'float32', 'top_k': 'int32', 'top_p': 'float32', 'stop': 'string'}
    generated = {'text': ('string', row), 'log_likelihood': ('float32', row)}
    state = {f'state_{n}': ('float32', [-1, SIZE]) for n in range(num_states)}
    expected = {
        'serving_default': ({'prefix': ('string', row)}, {'text': ('string', row)}),
        'generate': (
            {'prefix': ('string', row), 'seed': ('int64', row)} | {name: (kind, row) for name, kind in knobs.items()},
            generated,
        ),
        'sample': ({'prefix': ('string', row), 'seed': ('int64', row)}, generated),
        'score': (
            {'text': ('string', row)},
            {
                'log_likelihood': ('float32', row),
                'num_characters': ('int32', row),
                'perplexity': ('float32', row),
                'log_probabilities': ('float32', [-1, -1]),
            },
        ),
        'step': ({'ids': ('int32', row)} | state, {'logits': ('float32', [-1, len(vocabulary)])} | state),
    }
    definitions = _meta_graph(version_dirs[cell]).signature_def
    methods = {name: s.method_name for name, s in definitions.items() if s.inputs}
    assert {name: (specs(definitions[name].inputs), specs(definitions[name].outputs)) for name in methods} == expected
    assert set(methods.values()) == {'tensorflow/serving/predict'}


def test_each_signature_is_in_the_file_once(version_dir):
    """Its function, the one that checks its requests, and the one that names its inputs and outputs."""
    signatures = ('serving_default', 'sample', 'generate', 'score', 'step')
    assert len(_meta_graph(version_dir).object_graph_def.concrete_functions) == 3 * len(signatures)


@pytest.mark.parametrize('cell', ['rnn', 'gru', 'lstm'])
def test_graph_has_no_operation_that_a_stock_server_refuses(version_dirs, cell):
    graph = _meta_graph(version_dirs[cell]).graph_def
    operations = {node.op for f in graph.library.function for node in f.node_def} | {node.op for node in graph.node}
    assert 'Assert' in operations  # shows that the search reaches into functions
    assert not {op for op in operations if op in ('PyFunc', 'EagerPyFunc') or 'Cudnn' in op or 'Batch' in op}
    assert not any(f.attr['_XlaMustCompile'].b for f in graph.library.function)


def test_security_scan_finds_no_operation_that_reads_or_writes_files(version_dir):
    command = [sys.executable, '-m', 'tensorflow.python.tools.saved_model_cli', 'scan', '--dir', version_dir]
    scan = subprocess.run([*command, '--tag_set', 'serve'], capture_output=True, text=True, check=True)
    assert 'does not contain the default denylisted ops' in scan.stdout


@pytest.mark.parametrize('signature', ['serving_default', 'sample', 'generate', 'score', 'step'])
def test_row_has_the_same_answer_alone_in_a_mixed_batch_and_beside_copies(loaded, signature):
    """Texts, counts and choices are equal; floats to 1e-5, as a matrix product of one row may round differently."""
    function = loaded.signatures[signature]
    inputs = sample_requests.mixed(32, STATE, SIZE)[signature]
    together = _call(function, inputs)
    for row in range(32):
        alone = {name: value[row : row + 1] for name, value in inputs.items()}
        padded = {name: np.repeat(value, 4, 0) for name, value in alone.items()}
        for found in (_call(function, alone), _call(function, padded)):
            for name, value in found.items():
                expected = np.repeat(together[name][row : row + 1], len(value), 0)
                if name == 'log_probabilities':  # a batch pads its shorter rows
                    expected, beyond = np.split(expected, [value.shape[1]], axis=1)
                    assert not beyond.any()
                if value.dtype.kind == 'f':
                    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-5, err_msg=f'{name}[{row}]')
                else:
                    np.testing.assert_array_equal(value, expected, err_msg=f'{name}[{row}]')


def test_greedy_choices_of_step_give_the_text_of_serving_default(loaded, vocabulary):
    step, prefix = loaded.signatures['step'], '不分开 你'
    expected = _call(loaded.signatures['serving_default'], {'prefix': sample_requests.strings(prefix)})
    text, following, state = '', '', {name: tf.zeros([1, SIZE]) for name in STATE}
    for _ in range(len(prefix) + LENGTH):
        text += prefix[len(text)] if len(text) < len(prefix) else following
        state = dict(step(ids=tf.constant(vocabulary.encode(text[-1])), **state))
        following = vocabulary.decode(tf.argmax(state.pop('logits'), -1).numpy())
    assert text == expected['text'][0].decode()


def test_longest_generated_text_can_be_scored(model, vocabulary, tmp_path):
    """The limit of a text is the sum of the limits of prefix and length."""
    limits = Limits(max_length=6, max_prefix=4)
    signatures = tf.saved_model.load(str(export(model, vocabulary, tmp_path, 6, limits))).signatures
    text = _call(signatures['serving_default'], {'prefix': sample_requests.strings('分开分开')})['text']
    assert _call(signatures['score'], {'text': text})['num_characters'] == [9]
    with pytest.raises(tf.errors.InvalidArgumentError, match=r'text\[0\] has 11 characters; it must have 2 to 10'):
        _call(signatures['score'], {'text': sample_requests.strings(text[0].decode() + '分')})


@pytest.mark.parametrize('case', sample_requests.bad(), ids=lambda case: f'{case[0]} {case[2][:25]}')
def test_signature_and_its_check_refuse_a_bad_row_alike(loaded, case):
    signature, changed, message = case
    inputs = {k: tf.constant(v) for k, v in sample_requests.broken(signature, changed, STATE, SIZE).items()}
    for function in (loaded.signatures[signature], getattr(loaded, f'check_{signature}')):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            function(**inputs)


@pytest.mark.parametrize('signature', ['serving_default', 'sample', 'generate', 'score'])
@pytest.mark.parametrize(('character', 'message'), [('分', r'\[7\] has 250000 characters'), ('囧', r'\[7\] contains')])
def test_long_row_is_refused_before_the_other_rows_are_padded_to_its_length(loaded, signature, character, message):
    inputs = sample_requests.mixed(2048, STATE, SIZE)[signature]
    text = 'text' if signature == 'score' else 'prefix'
    inputs[text][7] = (character * 250_000).encode()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for function in (loaded.signatures[signature], getattr(loaded, f'check_{signature}')):
        with pytest.raises(tf.errors.InvalidArgumentError, match=text + message):
            function(**{k: tf.constant(v) for k, v in inputs.items()})
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20  # KiB; padding would take twice as much


@pytest.mark.parametrize('signature', ['serving_default', 'sample', 'generate', 'score', 'step'])
def test_check_counts_the_rows_and_runs_no_model(loaded, signature):
    check = getattr(loaded, f'check_{signature}')
    inputs = sample_requests.mixed(5, STATE, SIZE)[signature]
    assert check(**{k: tf.constant(v) for k, v in inputs.items()}).numpy() == 5
    (concrete,) = check.concrete_functions
    nodes = [n.op for f in concrete.graph.as_graph_def().library.function for n in f.node_def]
    nodes += [n.op for n in concrete.graph.as_graph_def().node]
    assert 'Assert' in nodes
    assert not {'MatMul', 'While', 'StatelessWhile'} & set(nodes)


@pytest.mark.parametrize('stop', ['', '风'])
def test_sample_is_generate_with_the_settings_of_the_export(model, vocabulary, stop):
    settings = SampleSettings(
        sample_length=40, sample_temperature=1.5, sample_top_k=9, sample_top_p=0.9, sample_stop=stop
    )
    artifact = Artifact(model, vocabulary, 5, Limits(), settings)
    prefix, seed = tf.constant(['分', '不分开', '河']), tf.constant([3, 1, 4], tf.int64)
    knobs = {'length': 40, 'temperature': 1.5, 'top_k': 9, 'top_p': 0.9, 'stop': stop}
    rows = {name: tf.fill([3], value) for name, value in knobs.items()}
    expected = artifact.generate(prefix=prefix, seed=seed, **rows)
    found = artifact.sample(prefix=prefix, seed=seed)
    assert found['text'].numpy().tolist() == expected['text'].numpy().tolist()
    np.testing.assert_allclose(found['log_likelihood'], expected['log_likelihood'], rtol=1e-5)
    ended = [text.decode().endswith('风') for text in found['text'].numpy()]
    assert all(ended) == bool(stop)
