"""Parses TensorFlow Serving's URLs: case-insensitive, matched as a whole, names and labels percent-encoded."""

import dataclasses
import re
import urllib.parse

from tensorflow_serving.apis import model_pb2

from export.artifact import versions
from export.server import errors
from export.server.predictor import specification

_VERSION = r'(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?'
_FORMS = {
    'POST': re.compile(
        rf'/v1/models/(?P<model>[^/:]+){_VERSION}:(?P<verb>classify|regress|predict|generate_stream)', re.IGNORECASE
    ),
    'GET': re.compile(rf'/v1/models(?:/(?P<model>[^/:]+))?{_VERSION}(?:/(?P<verb>metadata))?', re.IGNORECASE),
}


@dataclasses.dataclass(frozen=True)
class Target:
    """The model of a request and its verb: `predict`, `generate_stream`, `metadata`, `status`, …"""

    spec: model_pb2.ModelSpec
    verb: str


def without_authority(path: str) -> str:
    """Returns the path of a request line in absolute form, `http://host/path`, which clients send to proxies."""
    return re.sub(r'^https?://[^/]*(?=/)', '', path, flags=re.IGNORECASE)


def parse(method: str, path: str) -> Target:
    """Parses `path` as it was sent, percent-encoded. Raises `ServingError`."""
    found = _FORMS[method].fullmatch(path) if method in _FORMS else None
    if found is None:
        raise errors.invalid(f'Malformed request: {method} {path}')
    version = int(found['version'].lstrip('0')[:20] or '0') if found['version'] else None
    if version is not None and version > versions.LARGEST:
        raise errors.invalid(f'Failed to convert version: {found["version"]} to numeric.')
    name = urllib.parse.unquote(found['model'] or '')
    if not name:
        raise errors.invalid('Missing model name in request.')
    label = urllib.parse.unquote(found['label']) if found['label'] else None
    return Target(specification(name, version, label), (found['verb'] or 'status').lower())
