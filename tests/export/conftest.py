"""A model on disk and behind a server, for the tests of export.generate and export/client/."""

import pytest

from export.artifact.exporter import export
from tests.export.server.in_process import serve


@pytest.fixture(scope='session')
def model_dir(model, vocabulary, tmp_path_factory):
    """Directory of one version."""
    folder = tmp_path_factory.mktemp('models') / 'charrnn'
    export(model, vocabulary, folder, default_length=5)
    return folder


@pytest.fixture(scope='module')
def url(model_dir):
    """URL of a server of that version under two names."""
    with serve({'charrnn': model_dir, 'other': model_dir}) as url:
        yield url
