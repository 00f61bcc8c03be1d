"""Pages of other origins may use the API only where the server allows it."""

import pytest

from export.server.models.config import ModelConfig

PREDICT = '/v1/models/m:predict'
PREFLIGHT = {'origin': 'http://page.example', 'access_control_request_method': 'POST',
             'access_control_request_headers': 'content-type'}  # fmt: skip


@pytest.fixture
def address(serve, model_dirs, request):
    configs = [ModelConfig('m', model_dirs / 'half_plus_two')]
    return serve(configs, rest_api_enable_cors_support=request.param)[1]


@pytest.mark.parametrize('address', [True], indirect=True)
def test_allowed_page_may_ask_and_read(address):
    preflight = address.http('OPTIONS', PREDICT, **PREFLIGHT)
    assert preflight.status == 200
    assert preflight.headers['access-control-allow-origin'] == '*'
    assert 'POST' in preflight.headers['access-control-allow-methods']
    assert preflight.headers['access-control-allow-headers'] == 'content-type'
    for body, status in (({'instances': [1]}, 200), (b'{', 400)):
        answer = address.http('POST', PREDICT, body, origin='http://page.example')
        assert (answer.status, answer.headers['access-control-allow-origin']) == (status, '*')


@pytest.mark.parametrize('address', [False], indirect=True)
def test_no_page_is_allowed_by_default(address):
    assert address.http('OPTIONS', PREDICT, **PREFLIGHT).status == 400
    answer = address.http('POST', PREDICT, {'instances': [1]}, origin='http://page.example')
    assert answer.status == 200
    assert not [name for name in answer.headers if name.startswith('access-control')]
