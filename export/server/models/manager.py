"""The served versions of all models: loads new versions and unloads old ones when their last request has ended.

A new version, or a replacement of the same number, is loaded and warmed up before the old one stops. If loading fails,
the old one stays, and the manager reports the error and tries again. `poll` does one round of this; nothing here sleeps
or starts a thread. The lock is never held during file access, because requests wait for it.
"""

import contextlib
import dataclasses
import gc
import pathlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import grpc
from tensorflow_serving.apis import get_model_status_pb2, model_pb2

from data.errors import InputError
from export.artifact import versions
from export.server import errors
from export.server.errors import ServingError
from export.server.models.config import ModelConfig
from export.server.models.servable import Servable

State = get_model_status_pb2.ModelVersionStatus.State

Load = Callable[[str, int, pathlib.Path], Servable]


@dataclasses.dataclass
class _Version:
    """The state of a version that the configuration selects or selected."""

    state: int = State.START
    servable: Servable | None = None
    identity: tuple | None = None  # of the loaded SavedModel
    leases: int = 0
    error: ServingError | None = None
    failures: int = 0
    retry_at: float = 0.0  # seconds of the manager's clock
    files: int | None = None  # fingerprint at the last failure


class Manager:
    """The versions of all models and the leases on them. Thread-safe, except that one thread at a time may `poll`."""

    def __init__(
        self,
        models: Sequence[ModelConfig],
        load: Load,
        *,
        max_num_load_retries: int = 5,
        load_retry_interval: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        report: Callable[[str], None] = lambda line: None,
    ):
        """`load` returns a servable, warmed up; `load_retry_interval` is in seconds; `report` prints a line."""
        self._models = {model.name: model for model in models}
        self._versions: dict[str, dict[int, _Version]] = {model.name: {} for model in models}
        self._load = load
        self._max_num_load_retries = max_num_load_retries
        self._load_retry_interval = load_retry_interval
        self._clock = clock
        self._report = report
        self._lock = threading.Lock()
        self._replaced: list[tuple[str, _Version]] = []  # by a version of the same number

    @property
    def names(self) -> list[str]:
        return list(self._models)

    def poll(self) -> None:
        """Scans the base paths once, loads new versions and unloads versions that are no longer selected.

        Raises:
          InputError: a base path cannot be read. Its versions stay, and the other models are scanned all the same.
        """
        unreadable = []
        for model in self._models.values():
            try:
                self._poll(model)
            except InputError as error:
                unreadable.append(str(error))
        self._unload()
        if unreadable:
            raise InputError('; '.join(unreadable))

    @contextlib.contextmanager
    def lease(self, spec: model_pb2.ModelSpec) -> Iterator[Servable]:
        """Holds the servable of a request, which stays loaded within the context. Raises `ServingError`."""
        with self._lock:
            entry, servable = self._find(spec)
            entry.leases += 1
        try:
            yield servable
        finally:
            with self._lock:
                entry.leases -= 1

    def status(self, spec: model_pb2.ModelSpec) -> get_model_status_pb2.GetModelStatusResponse:
        """Returns the state of one version or of all, the newest first. Raises `ServingError` if there is none."""
        with self._lock:
            found = dict(self._versions.get(spec.name, {}))
            if spec.HasField('version'):
                version = spec.version.value
                if version not in found:
                    raise _not_found(f'Could not find version {version} of model {spec.name}')
                found = {version: found[version]}
            if not found:
                raise _not_found(f'Could not find any versions of model {spec.name}')
            response = get_model_status_pb2.GetModelStatusResponse()
            for version, entry in sorted(found.items(), reverse=True):
                _add_status(response, version, entry)
            return response

    def available(self, name: str) -> list[int]:
        """Returns the available versions of a model, in order."""
        with self._lock:
            return self._available(name)

    def problem(self, name: str) -> str | None:
        """Returns the error of the newest version that could not be loaded; None: there is none."""
        with self._lock:
            broken = [entry.error.message for _, entry in sorted(self._versions[name].items()) if entry.error]
            return broken[-1] if broken else None

    def _find(self, spec: model_pb2.ModelSpec) -> tuple[_Version, Servable]:
        if not spec.name:
            raise errors.invalid('ModelSpec has no name specified.')
        version, request = self._requested(spec)
        entry = self._versions.get(spec.name, {}).get(version) if version is not None else None
        if entry is None or entry.servable is None or entry.state != State.AVAILABLE:
            raise _not_found(f'Servable not found for request: {request}')
        return entry, entry.servable

    def _requested(self, spec: model_pb2.ModelSpec) -> tuple[int | None, str]:
        """Returns the requested version, and the request as TensorFlow Serving's errors show it."""
        choice = spec.WhichOneof('version_choice')
        if choice is None:
            return max(self._available(spec.name), default=None), f'Latest({spec.name})'
        version = spec.version.value
        if choice == 'version_label':
            labels: Mapping[str, int] = self._models[spec.name].labels if spec.name in self._models else {}
            if spec.version_label not in labels:
                raise errors.invalid(f'Unrecognized servable version label: {spec.version_label}')
            version = labels[spec.version_label]
        return version, f'Specific({spec.name}, {version})'

    def _available(self, name: str) -> list[int]:
        return sorted(v for v, entry in self._versions.get(name, {}).items() if entry.state == State.AVAILABLE)

    def _poll(self, model: ModelConfig) -> None:
        on_disk = versions.versions(model.base_path)
        wanted = model.wanted(list(on_disk))
        for version in wanted:
            self._attempt(model.name, version, on_disk[version])
        self._retire(model.name, wanted)
        self._forget(model.name, on_disk)

    def _attempt(self, name: str, version: int, directory: pathlib.Path) -> None:
        """Loads a version that is not loaded or was replaced, if it is new or due for another try."""
        with self._lock:
            entry = self._versions[name].setdefault(version, _Version())
        identity = versions.saved_model_identity(directory)
        if entry.state == State.UNLOADING or self._is_current(entry, identity):
            return
        # Before it is loaded: the next poll then notices a change during the load.
        files = versions.directory_fingerprint(directory)
        if not self._due(entry, files):
            return
        with self._lock:
            if entry.state != State.AVAILABLE:
                entry.state = State.LOADING
        try:
            servable = self._load(name, version, directory)
        except Exception as error:  # an error in the files must not stop the server
            self._fail(entry, f'{name} version {version}', files, error)
            return
        self._take_over(name, version, _Version(State.AVAILABLE, servable, identity))

    def _is_current(self, entry: _Version, identity: tuple | None) -> bool:
        """Returns whether the loaded version is that on disk; if so, clears the error of a failed replacement."""
        with self._lock:
            if entry.state == State.AVAILABLE and identity == entry.identity:
                entry.error, entry.failures = None, 0
            return entry.state == State.AVAILABLE and identity in (None, entry.identity)

    def _due(self, entry: _Version, files: int | None) -> bool:
        if entry.failures and files != entry.files:
            entry.failures = 0
        again = entry.failures <= self._max_num_load_retries and self._clock() >= entry.retry_at
        return not entry.failures or again

    def _fail(self, entry: _Version, who: str, files: int | None, error: Exception) -> None:
        problem = errors.from_exception(error)
        line = f'{who} cannot be served: {problem.message}'
        with self._lock:
            if entry.state == State.AVAILABLE:
                line = f'{who} was replaced by one that cannot be served; the old one still answers: {problem.message}'
                problem = ServingError(problem.code, line)
            else:
                entry.state = State.END
            entry.error, entry.files = problem, files
            entry.failures += 1
            entry.retry_at = self._clock() + self._load_retry_interval
        self._report(line)

    def _take_over(self, name: str, version: int, loaded: _Version) -> None:
        """Makes `loaded` answer from now on, perhaps instead of a version of the same number."""
        who = f'{name} version {version}'
        with self._lock:
            old, self._versions[name][version] = self._versions[name][version], loaded
            if old.servable is not None:
                old.state = State.UNLOADING
                self._replaced.append((f'{who}, the replaced one,', old))
        self._report(f'{who} is available{", replaced" if old.servable is not None else ""}')

    def _retire(self, name: str, wanted: Sequence[int]) -> None:
        """Stops versions that are no longer selected, if a selected one is available."""
        with self._lock:
            available = self._available(name)
            if not set(wanted) & set(available):
                return
            for version in set(available) - set(wanted):
                self._versions[name][version].state = State.UNLOADING

    def _forget(self, name: str, on_disk: Mapping[int, pathlib.Path]) -> None:
        with self._lock:
            for version, entry in list(self._versions[name].items()):
                if entry.state == State.END and version not in on_disk:
                    del self._versions[name][version]

    def _unload(self) -> None:
        """Drops the stopped versions without a running request."""
        dropped = []
        with self._lock:
            numbered = [
                (f'{m} version {v}', entry) for m, found in self._versions.items() for v, entry in found.items()
            ]
            for who, entry in numbered + self._replaced:
                if entry.state == State.UNLOADING and not entry.leases:
                    entry.state, entry.servable = State.END, None
                    dropped.append(f'{who} is unloaded')
            self._replaced = [(who, entry) for who, entry in self._replaced if entry.state == State.UNLOADING]
        if dropped:
            gc.collect()  # a loaded model contains reference cycles
        for line in dropped:
            self._report(line)


def _not_found(message: str) -> ServingError:
    return ServingError(grpc.StatusCode.NOT_FOUND, message)


def _add_status(response: get_model_status_pb2.GetModelStatusResponse, version: int, entry: _Version) -> None:
    status = response.model_version_status.add(version=version, state=entry.state)
    status.status.SetInParent()  # OK is written too
    if entry.error is not None:
        status.status.error_code = entry.error.code.value[0]
        status.status.error_message = entry.error.message
