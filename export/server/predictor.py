"""The predictor of both protocols: admits or refuses a request and runs it on a thread."""

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

import grpc
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_pb2, predict_pb2

from export.server import errors
from export.server.errors import ServingError
from export.server.models.manager import Manager

_SIGNATURE_DEF = 'signature_def'

Result = TypeVar('Result')


class Predictor:
    """Answers predictions, metadata and version states.

    A running prediction cannot be stopped: after its deadline it occupies its slot until it ends. The limits of the
    artifact bound that time.
    """

    def __init__(self, manager: Manager, max_concurrent_requests: int):
        """Starts one thread per concurrent request, so that full batches can form."""
        self.manager = manager
        self._max_concurrent_requests = max_concurrent_requests
        self._lock = threading.Lock()
        self.in_progress = 0
        self._threads = concurrent.futures.ThreadPoolExecutor(max_concurrent_requests, 'predict')

    @contextlib.contextmanager
    def slot(self) -> Iterator[None]:
        """Holds one of the slots for requests in progress. Raises `ServingError` if none is free."""
        self._take_slot()
        try:
            yield
        finally:
            self._free_slot()

    def submit(self, answer: Callable[[], object]) -> concurrent.futures.Future:
        """Runs `answer` on a thread, in its own slot. Raises `ServingError` if none is free."""
        self._take_slot()
        try:
            future = self._threads.submit(answer)
        except RuntimeError as error:  # shut down
            self._free_slot()
            raise ServingError(grpc.StatusCode.UNAVAILABLE, 'the server is shutting down') from error
        future.add_done_callback(lambda _: self._free_slot())
        return future

    async def run(self, step: Callable[[], Result]) -> Result:
        """Returns `step()`, run on a thread; the caller holds a slot."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, step)

    def predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        """Returns the answer, computed on the calling thread. Raises `ServingError`."""
        with self.manager.lease(request.model_spec) as servable:
            return servable.predict(request)

    def metadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """Returns the signatures of a version. Raises `ServingError`."""
        if not request.HasField('model_spec'):
            raise errors.invalid('Missing ModelSpec')
        if not request.metadata_field:
            raise errors.invalid('GetModelMetadataRequest must specify at least one metadata_field')
        for field in request.metadata_field:
            if field != _SIGNATURE_DEF:
                raise errors.invalid(f'Metadata field {field} is not supported')
        return self._signatures(request)

    def status(
        self, request: get_model_status_pb2.GetModelStatusRequest
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """Returns the states of the versions of a model. Raises `ServingError`."""
        if not request.HasField('model_spec'):
            raise errors.invalid('Missing ModelSpec')
        return self.manager.status(request.model_spec)

    def close(self) -> None:
        """Refuses new requests; running ones end."""
        self._threads.shutdown(wait=False)

    def _take_slot(self) -> None:
        with self._lock:
            if self.in_progress >= self._max_concurrent_requests:
                raise ServingError(
                    grpc.StatusCode.UNAVAILABLE,
                    f'{self.in_progress} requests are in progress, the limit of this server '
                    f'(--max_concurrent_requests): try again later.',
                )
            self.in_progress += 1

    def _free_slot(self) -> None:
        with self._lock:
            self.in_progress -= 1

    def _signatures(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        signatures = get_model_metadata_pb2.SignatureDefMap()
        with self.manager.lease(request.model_spec) as servable:
            for name, signature in servable.signatures.items():
                signatures.signature_def[name].CopyFrom(signature)
            response.model_spec.name = servable.name
            response.model_spec.version.value = servable.version
        response.metadata[_SIGNATURE_DEF].Pack(signatures)
        return response


def specification(name: str, version: int | None = None, label: str | None = None) -> model_pb2.ModelSpec:
    """Returns the specification of a model, with its version or label if one is given."""
    spec = model_pb2.ModelSpec(name=name)
    if version is not None:
        spec.version.value = version
    if label is not None:
        spec.version_label = label
    return spec
