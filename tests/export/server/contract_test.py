"""The API is TensorFlow Serving's: its REST documentation case by case, its own stubs over gRPC, and both agree.

The same cases run against any other server that CHARRNN_SERVER_URL names.
"""

import http.client
import statistics
import time
import urllib.parse

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
)

from export.server.models.config import ModelConfig
from export.server.options import METRICS_PATH
from tests.export.server import contract
from tests.export.server.client import PATIENCE, Stubs, predict_request
from tests.export.server.served_models import DEFAULT_LENGTH

AGREEING = [
    ('half_plus_two', '', {'x': np.float32([1, 2.5])}),
    ('half_plus_two', 'two', {'a': np.float32([1, 2]), 'b': np.int32([[1, 2], [3, 4]])}),
    ('half_plus_two', 'total', {'x': np.float32([[1, 2], [3, 4]])}),
    ('half_plus_two', 'types', {
        'truth': [True], 'long': np.int64([-(2**62)]), 'byte': np.uint8([7]), 'double': np.float64([0.1])
    }),
    ('charrnn', '', {'prefix': ['分', '不分开']}),
    ('charrnn', 'generate', {
        'prefix': ['分', '山一程'], 'length': np.int32([5, 0]), 'temperature': np.float32([1, 0]),
        'top_k': np.int32([0, 3]), 'top_p': np.float32([0.9, 1]), 'stop': ['山', ''], 'seed': np.int64([7, 2**60]),
    }),
    ('charrnn', 'score', {'text': ['分开 山一程', '不分']}),
    ('charrnn', 'step', {'ids': np.int32([0, 3]), 'state_0': np.zeros([2, 16], np.float32)}),
]  # fmt: skip


@pytest.mark.parametrize('case', contract.CASES, ids=lambda case: case.name)
def test_rest(case, own_address):
    answer = own_address.http(case.method, case.path, case.body)
    assert answer.headers['content-type'] == 'application/json'
    case.check(answer.status, answer.document)


def test_rest_of_another_server(other_address):
    failed = {}
    for case in contract.CASES:
        answer = other_address.http(case.method, case.path, case.body)
        try:
            case.check(answer.status, answer.document)
        except AssertionError as error:
            failed |= {} if case.ours else {case.name: str(error)}
    assert failed == {}


@pytest.mark.parametrize(('model', 'signature', 'inputs'), AGREEING, ids=lambda value: str(value)[:20])
def test_both_protocols_agree(model, signature, inputs, own_address, stubs):
    columns = {name: np.asarray(value).tolist() for name, value in inputs.items()}
    over_rest = own_address.predict(model, {'signature_name': signature, 'inputs': columns}).document['outputs']
    over_grpc = stubs.predict(predict_request(model, signature, **inputs))
    if len(over_grpc) == 1:
        over_rest = dict.fromkeys(over_grpc, over_rest)
    assert over_rest.keys() == over_grpc.keys()
    for name, found in over_grpc.items():
        if found.dtype == object:
            assert over_rest[name] == [text.decode() for text in found]
        else:
            np.testing.assert_array_equal(np.asarray(over_rest[name], found.dtype), found, name)


def test_call_without_a_deadline_is_answered(stubs):
    response = stubs.prediction.Predict(predict_request('charrnn', prefix=['分']))
    assert len(response.outputs['text'].string_val[0].decode()) == 1 + DEFAULT_LENGTH


def test_text_equals_the_text_of_the_trainer(own_address, generator):
    prefixes = ['分', '不分开', '山一程 水']
    answer = own_address.predict('charrnn', {'instances': prefixes})
    assert answer.document == {'predictions': generator.texts(prefixes, DEFAULT_LENGTH)}


def test_grpc_answer_names_its_model_and_uses_typed_fields(stubs):
    response = stubs.prediction.Predict(predict_request('half_plus_two', x=np.float32([1, 2])), PATIENCE)
    spec = response.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ('half_plus_two', 123, 'serving_default')
    assert list(response.outputs['y'].float_val) == [2.5, 3.0]


def test_output_filter(stubs):
    request = predict_request('half_plus_two', 'two', a=np.float32([1]), b=np.int32([[1, 2]]))
    request.output_filter.append('twice')
    assert stubs.predict(request).keys() == {'twice'}


def _named(label=None, version=None, **inputs):
    request = predict_request('half_plus_two', **inputs)
    if label:
        request.model_spec.version_label = label
    if version:
        request.model_spec.version.value = version
    return request


X = np.float32([1])


@pytest.mark.parametrize('request_', [_named(label='stable', x=X), _named(version=123, x=X)], ids=['label', 'version'])
def test_grpc_by_version(request_, stubs):
    assert stubs.predict(request_)['y'] == [2.5]


def _filtered(*outputs):
    request = predict_request('half_plus_two', x=X)
    request.output_filter.extend(outputs)
    return request


@pytest.mark.parametrize(
    ('request_', 'code', 'message'),
    [
        (predict_request('x', x=X), 'NOT_FOUND', 'Servable not found for request: Latest(x)'),
        (_named(version=9, x=X), 'NOT_FOUND', 'Servable not found for request: Specific(half_plus_two, 9)'),
        (_named(label='canary', x=X), 'INVALID_ARGUMENT', 'Unrecognized servable version label: canary'),
        (predict_request('', x=X), 'INVALID_ARGUMENT', 'ModelSpec has no name specified.'),
        (predict_request('half_plus_two', 'x', x=X), 'FAILED_PRECONDITION', 'Serving signature key "x" not found.'),
        (predict_request('half_plus_two'), 'INVALID_ARGUMENT', 'Missing but required: {x}.'),
        (predict_request('half_plus_two', x=X, z=X), 'INVALID_ARGUMENT', 'Sent extra: {z}.'),
        (predict_request('half_plus_two', x=['a']), 'INVALID_ARGUMENT', "input 'x' must be float32"),
        (
            predict_request('half_plus_two', x=np.float32([[1]])),
            'INVALID_ARGUMENT',
            "input 'x' must have the shape [?]",
        ),
        (_filtered('z'), 'INVALID_ARGUMENT', 'output tensor alias not found in signature: z'),
        (_filtered('y', 'y'), 'INVALID_ARGUMENT', 'duplicate output tensor alias: y'),
        (predict_request('charrnn', prefix=['囧']), 'INVALID_ARGUMENT', "prefix[0] contains '囧' (U+56E7)"),
    ],
    ids=lambda value: value if isinstance(value, str) else '',
)
def test_grpc_errors(request_, code, message, stubs):
    with pytest.raises(grpc.RpcError) as error:
        stubs.predict(request_)
    assert error.value.code().name == code
    assert message in error.value.details()


def test_grpc_metadata(stubs, model_dirs):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=['signature_def'])
    request.model_spec.name = 'half_plus_two'
    response = stubs.prediction.GetModelMetadata(request, PATIENCE)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata['signature_def'].Unpack(signatures)
    loaded = tf.saved_model.load(str(model_dirs / 'half_plus_two' / '00000123'))
    assert set(loaded.signatures) <= set(signatures.signature_def)
    assert response.model_spec.version.value == 123


@pytest.mark.parametrize(('fields', 'message'), [([], 'at least one'), (['x'], 'Metadata field x is not supported')])
def test_grpc_metadata_errors(fields, message, stubs):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    request.model_spec.name = 'half_plus_two'
    with pytest.raises(grpc.RpcError, match=message):
        stubs.prediction.GetModelMetadata(request, PATIENCE)


def test_grpc_status(stubs):
    request = get_model_status_pb2.GetModelStatusRequest()
    with pytest.raises(grpc.RpcError, match='Missing ModelSpec'):
        stubs.model.GetModelStatus(request, PATIENCE)
    request.model_spec.name = 'half_plus_two'
    (status,) = stubs.model.GetModelStatus(request, PATIENCE).model_version_status
    assert (status.version, status.state) == (123, get_model_status_pb2.ModelVersionStatus.AVAILABLE)


def test_unsupported_methods_are_unimplemented(stubs):
    for call, request in [
        (stubs.prediction.Classify, classification_pb2.ClassificationRequest()),
        (stubs.model.HandleReloadConfigRequest, model_management_pb2.ReloadConfigRequest()),
    ]:
        with pytest.raises(grpc.RpcError) as error:
            call(request, PATIENCE)
        assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_health_and_reflection(stubs):
    health = health_pb2_grpc.HealthStub(stubs.channel)
    for service in ('', 'tensorflow.serving.PredictionService'):
        answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=PATIENCE)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    asked = iter([reflection_pb2.ServerReflectionRequest(list_services='')])
    (answer,) = reflection_pb2_grpc.ServerReflectionStub(stubs.channel).ServerReflectionInfo(asked, timeout=PATIENCE)
    assert {'tensorflow.serving.PredictionService', 'tensorflow.serving.ModelService', 'grpc.health.v1.Health'} <= {
        service.name for service in answer.list_services_response.service
    }


def test_grpc_of_another_server(other_address):
    if not other_address.grpc:
        pytest.skip('CHARRNN_SERVER_GRPC names no address')
    stubs = Stubs(other_address.grpc)
    assert stubs.predict(predict_request('half_plus_two', x=X))['y'] == [2.5]
    with pytest.raises(grpc.RpcError, match='Servable not found for request'):
        stubs.predict(predict_request('x', x=X))


def test_metrics_have_tensorflow_servings_names(own_address):
    own_address.predict('half_plus_two', {'instances': [1]})
    own_address.predict('half_plus_two', {})
    own_address.predict('made-up', {'instances': [1]})
    page = own_address.http('GET', '/monitoring/prometheus/metrics').body.decode()
    assert ':tensorflow:serving:request_count{model_name="half_plus_two",status="OK"}' in page
    assert ':tensorflow:serving:request_count{model_name="half_plus_two",status="INVALID_ARGUMENT"}' in page
    assert ':tensorflow:serving:request_latency_bucket{API="predict",entrypoint="REST",le="10.0"' in page
    assert 'made-up' not in page


@pytest.mark.parametrize('path', ['/mine', None])
def test_path_of_the_metrics_can_be_changed_or_off(serve, model_dirs, path):
    _, address = serve([ModelConfig('m', model_dirs / 'half_plus_two')], metrics_path=path)
    assert address.http('GET', METRICS_PATH).status == 404
    if path:
        assert b':tensorflow:serving:request_count' in address.http('GET', path).body


def test_answer_on_a_kept_connection_is_not_delayed(own_address):
    """As long as on new ones, where the client confirms at once what it gets; else it would be 40 ms more."""
    netloc = urllib.parse.urlsplit(own_address.rest).netloc
    kept = http.client.HTTPConnection(netloc, timeout=PATIENCE)

    def seconds(close):
        began = time.perf_counter()
        kept.request('GET', '/v1/models/charrnn')
        kept.getresponse().read()
        if close:
            kept.close()
        return time.perf_counter() - began

    new = statistics.median(seconds(close=True) for _ in range(20))
    again = statistics.median(seconds(close=False) for _ in range(20))
    kept.close()
    assert again < 5 * new
