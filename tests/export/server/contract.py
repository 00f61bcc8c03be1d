"""What TensorFlow Serving's REST documentation and source promise, as requests and their answers.

`half_plus_two` (version 123, label `stable`) and `charrnn` (version 1)
are the models of tests.export.server.served_models.
"""

import base64
import dataclasses
import json
import math
from typing import Any

HALF = '/v1/models/half_plus_two'
CHARRNN = '/v1/models/charrnn'
AVAILABLE = {'state': 'AVAILABLE', 'status': {'error_code': 'OK', 'error_message': ''}}

_PNG = base64.b64encode(b'\xff\xfe\x00\x01').decode()
_TYPES = {'truth': [True], 'long': [2**62], 'byte': [255], 'double': [0.1]}


@dataclasses.dataclass(frozen=True)
class Case:
    """A request, and what has to come back: a status, and the document, or a part of the error's message."""

    name: str
    method: str
    path: str
    body: Any
    status: int
    expected: Any
    ours: bool = False
    """Whether TensorFlow Serving itself answers otherwise, on purpose."""

    def check(self, status: int, document: Any) -> None:
        assert status == self.status, document
        if callable(self.expected):
            assert self.expected(document), document
        elif isinstance(self.expected, str):
            assert set(document) == {'error'}
            assert self.expected in document['error']
        else:
            assert document == self.expected


def _predict(name: str, body: Any, expected: Any, path: str = HALF, **options: Any) -> Case:
    return Case(name, 'POST', f'{path}:predict', body, 200, expected, **options)


def _refused(name: str, body: Any, message: str, *, path: str = HALF, status: int = 400, **options: Any) -> Case:
    return Case(name, 'POST', f'{path}:predict', body, status, message, **options)


def _of(signature: str, **body: Any) -> dict:
    return {'signature_name': signature, **body}


_ANSWERS = [
    _predict('rows', {'instances': [1.0, 2.0, 5.0]}, {'predictions': [2.5, 3.0, 4.5]}),
    _predict('columns', {'inputs': [1.0, 2.0, 5.0]}, {'outputs': [2.5, 3.0, 4.5]}),
    _predict('rows of objects', {'instances': [{'x': 1.0}, {'x': 2}]}, {'predictions': [2.5, 3.0]}),
    _predict('columns by name', {'inputs': {'x': [1]}}, {'outputs': [2.5]}),
    _predict('the default signature by name', _of('serving_default', inputs=[0]), {'outputs': [2.0]}),
    _predict('an empty signature name is the default', _of('', inputs=[0]), {'outputs': [2.0]}),
    _predict('version', {'instances': [0]}, {'predictions': [2.0]}, f'{HALF}/versions/123'),
    _predict('version with leading zeros', {'instances': [0]}, {'predictions': [2.0]}, f'{HALF}/versions/00000123'),
    _predict('label', {'instances': [0]}, {'predictions': [2.0]}, f'{HALF}/labels/stable'),
    _predict('any case', {'instances': [0]}, {'predictions': [2.0]}, '/V1/Models/half_plus_two'),
    _predict('a percent-encoded name', {'instances': [0]}, {'predictions': [2.0]}, '/v1/models/half%5Fplus_two'),
    _predict('floats come back shortest', {'inputs': [0.4]}, {'outputs': [2.2]}),
    _predict('infinity', b'{"instances": [Infinity, -Infinity]}', {'predictions': [math.inf, -math.inf]}),
    _predict('not a number', b'{"instances": [NaN]}', lambda answer: math.isnan(answer['predictions'][0])),
    _predict('base64 in and out', _of('picture', instances=[{'b64': _PNG}]),
             {'predictions': [{'size': 4, 'thumbnail_bytes': {'b64': base64.b64encode(b'\xff\xfe\x00').decode()}}]}),
    _predict('base64 under a name', _of('picture', instances=[{'image': {'b64': _PNG}}]),
             lambda answer: answer['predictions'][0]['size'] == 4),
    _predict('base64 in a column', _of('picture', inputs=[{'b64': _PNG}, 'ab']),
             lambda answer: answer['outputs']['size'] == [4, 2]),
    _predict('base64 without padding', _of('picture', inputs=[{'b64': _PNG.rstrip('=')}]),
             lambda answer: answer['outputs']['size'] == [4]),
    _predict('text is UTF-8', _of('picture', inputs=['不分']),
             lambda answer: answer['outputs'] == {'size': [6], 'thumbnail_bytes': [{'b64': '5LiN'}]}),
    _predict('two inputs in rows', _of('two', instances=[{'a': 0.5, 'b': [1, 2]}, {'a': 1, 'b': [3, 4]}]),
             {'predictions': [{'sum': 3.5, 'twice': [2, 4]}, {'sum': 8.0, 'twice': [6, 8]}]}),
    _predict('two inputs in columns', _of('two', inputs={'a': [0.5, 1], 'b': [[1, 2], [3, 4]]}),
             {'outputs': {'sum': [3.5, 8.0], 'twice': [[2, 4], [6, 8]]}}),
    _predict('a scalar in a column', _of('total', inputs=[[1, 2], [3, 4]]), {'outputs': 10.0}),
    _predict('types', _of('types', inputs=_TYPES),
             {'outputs': {'truth': [False], 'long': [2**62 + 1], 'byte': [127], 'double': [0.025]}}),
    _predict('the content of other keys is ignored', {'instances': [0], 'more': None}, {'predictions': [2.0]}),
    _predict('charrnn', {'instances': ['分', '不分开']},
             lambda answer: [len(text) for text in answer['predictions']] == [13, 15], CHARRNN),
]  # fmt: skip

_REFUSALS = [
    _refused('no body', b'', 'JSON Parse error: The document is empty'),
    _refused('no JSON', b'{"instances": [1.0', 'JSON Parse error'),
    _refused('a list', b'[1.0]', 'Is not object'),
    _refused('text after the object', b'{"instances": [1]} {', 'JSON Parse error', ours=True),
    _refused('neither key', {}, "Missing 'inputs' or 'instances' key"),
    _refused('both keys', {'instances': [1], 'inputs': [1]}, "expecting only one of 'inputs' or 'instances' keys"),
    _refused('rows that are not a list', {'instances': 1}, "Expecting 'instances' to be an list/array"),
    _refused('no row', {'instances': []}, "No values in 'instances' array"),
    _refused('a signature that is not a string', _of(3, instances=[1]), "'signature_name' key must be a string value"),
    _refused('unknown signature', _of('x', instances=[1]), 'Serving signature name: "x" not found in signature def'),
    _refused('string for float', {'instances': ['a']}, 'Type: String is not of expected type: float'),
    _refused('null', {'inputs': [None]}, 'Type: Null is not of expected type: float'),
    _refused('fraction for integer', _of('two', inputs={'a': [1], 'b': [[1.5, 2]]}), 'is not of expected type: int32'),
    _refused('too large for int32', _of('two', inputs={'a': [1], 'b': [[2**31, 2]]}), 'not of expected type: int32'),
    _refused('too large for uint8', _of('types', inputs={**_TYPES, 'byte': [256]}), 'expected type: uint8', ours=True),
    _refused('too large for int64', _of('types', inputs={**_TYPES, 'long': [2**63]}), 'expected type: int64'),
    _refused('too large for float', {'instances': [1e39]}, 'is not of expected type: float', ours=True),
    _refused('too large for JSON', b'{"instances": [1e999]}', 'JSON Parse error'),
    _refused('number for string', _of('picture', inputs=[1]), 'Type: Number is not of expected type: string'),
    _refused('ragged', _of('total', inputs=[[1, 2], [3]]), 'Encountered list at unexpected size: 1 at level: 1'),
    _refused('list and scalar', {'inputs': [1, [2]]}, 'Encountered list at unexpected level: 1 expected < 1'),
    _refused('scalar and list', _of('total', inputs=[[1], 2]), 'found at incorrect level: 2 in the JSON DOM'),
    _refused('rows of two shapes', _of('total', instances=[[1, 2], [3]]), 'Expecting'),
    _refused('a list for several inputs', _of('two', instances=[1]), 'instances is a plain list, but expecting list'),
    _refused('a list in columns', _of('two', inputs=[1]), 'inputs is a plain value/list, but expecting an object'),
    _refused('an input missing in columns', _of('two', inputs={'a': [1]}), "Missing named input: b in 'inputs' object"),
    _refused('an input missing in a row', _of('two', instances=[{'a': 1}]), 'keys must be equal to: a,b'),
    _refused('an unknown input in a row', {'instances': [{'z': 1}]}, 'does not have named input: z'),
    _refused('object, then list', _of('two', instances=[{'a': 1, 'b': [1, 2]}, 3]), 'Expecting object but got list at'),
    _refused('value, then object', {'instances': [1, {'x': 1}]}, 'Expecting value/list but got object at item 1'),
    _refused('bad base64', _of('picture', inputs=[{'b64': '*'}]), 'Unable to base64 decode'),
    _refused('base64 that is not text', {'instances': [{'b64': '//4='}]}, 'prefix[0] is not valid UTF-8',
             path=CHARRNN),
    _refused('base64 and more', _of('picture', inputs=[{'b64': '', 'a': 1}]), 'not formatted correctly for base64'),
    _refused('wrong rank', {'inputs': [[1.0]]}, "input 'x' must have the shape [?]; [1, 1] was sent.", ours=True),
    _refused('wrong dimension', _of('two', inputs={'a': [1], 'b': [[1, 2, 3]]}), "'b' must have the", ours=True),
    _refused('rows of no rank', _of('total', instances=[[1], [2]]), 'Tensor name: total has no shape information'),
    _refused('unknown model', {'instances': [1]}, 'Servable not found for request: Latest(x)', path='/v1/models/x',
             status=404),
    _refused('unknown version', {'instances': [1]}, 'Servable not found for request: Specific(half_plus_two, 9)',
             path=f'{HALF}/versions/9', status=404),
    _refused('unknown label', {'instances': [1]}, 'Unrecognized servable version label: canary',
             path=f'{HALF}/labels/canary'),
    _refused('a version too large', {'instances': [1]}, f'Failed to convert version: {10**20} to numeric.',
             path=f'{HALF}/versions/{10**20}'),
    _refused('a version that is none', {'instances': [1]}, 'Malformed request: POST', path=f'{HALF}/versions/a'),
    _refused("a row that the model's own check refuses", {'instances': ['分', '囧']},
             '(U+56E7), which is not among the 24 characters', path=CHARRNN),
]  # fmt: skip

_OTHERS = [
    Case('status', 'GET', HALF, None, 200, {'model_version_status': [{'version': '123', **AVAILABLE}]}),
    Case('status of a version', 'GET', f'{HALF}/versions/123', None, 200,
         {'model_version_status': [{'version': '123', **AVAILABLE}]}),
    Case('status under a label', 'GET', f'{HALF}/labels/stable', None, 200,
         {'model_version_status': [{'version': '123', **AVAILABLE}]}),
    Case('status of an unknown model', 'GET', '/v1/models/x', None, 404, 'Could not find any versions of model x'),
    Case('status of an unknown version', 'GET', f'{HALF}/versions/9', None, 404,
         'Could not find version 9 of model half_plus_two'),
    Case('status of no model', 'GET', '/v1/models', None, 400, 'Missing model name in request.'),
    Case('metadata of an unknown model', 'GET', '/v1/models/x/metadata', None, 404, 'Servable not found'),
    Case('metadata of an unknown version', 'GET', f'{HALF}/versions/9/metadata', None, 404,
         'Servable not found for request: Specific(half_plus_two, 9)'),
    Case('another path', 'GET', '/v1/foo', None, 400, 'Malformed request: GET /v1/foo'),
    Case('an unknown verb', 'POST', f'{HALF}:paint', {}, 400, f'Malformed request: POST {HALF}:paint'),
    Case('a path with a suffix', 'POST', f'{HALF}:predict/', {}, 400, 'Malformed request'),
    Case('get to predict', 'GET', f'{HALF}:predict', None, 400, 'Malformed request: GET'),
    Case('another method', 'PUT', HALF, {}, 400, 'Malformed request: PUT'),
    Case('classify', 'POST', f'{HALF}:classify', {'examples': [{'x': 1.0}]}, 501, ':classify is not', ours=True),
    Case('regress', 'POST', f'{HALF}:regress', {'examples': [{'x': 1.0}]}, 501, ':regress is not', ours=True),
]  # fmt: skip


def _metadata(answer: Any) -> bool:
    x = answer['metadata']['signature_def']['signature_def']['serving_default']['inputs']['x']
    return answer['model_spec'] == {'name': 'half_plus_two', 'signature_name': '', 'version': '123'} and (
        x['dtype'] == 'DT_FLOAT'
        and x['tensor_shape'] == {'dim': [{'size': '-1', 'name': ''}], 'unknown_rank': False}
        and set(x) == {'dtype', 'tensor_shape', 'name'}
    )


_METADATA = [
    Case(f'metadata{where}', 'GET', f'{HALF}{where}/metadata', None, 200, _metadata)
    for where in ('', '/versions/123', '/labels/stable')
]

CASES: list[Case] = [*_ANSWERS, *_REFUSALS, *_OTHERS, *_METADATA]


def encoded(body: Any) -> bytes:
    """As it is sent."""
    return body if isinstance(body, bytes) else json.dumps(body).encode()
