"""A model on disk and behind a server, for the tests of export.generate and export/client/."""

import pytest

from tests.export.server.in_process import serve


@pytest.fixture(scope='session')
def model_dir(version_dirs):
    """Directory of one version."""
    return version_dirs['rnn'].parent


@pytest.fixture(scope='module')
def url(model_dir):
    """URL of a server of that version under two names."""
    with serve({'charrnn': model_dir, 'other': model_dir}) as url:
        yield url
