"""gRPC's reflection service, for a limited number of clients at a time."""

import threading
from collections.abc import Iterable, Iterator

import grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

SERVICE_NAME = reflection.SERVICE_NAME
_MOST_STREAMS = 8


class _Reflection(reflection.ReflectionServicer):
    """Limits the streams: each occupies a thread of the server until its client ends it."""

    def __init__(self, names: Iterable[str]):
        super().__init__(names)
        self._places = threading.BoundedSemaphore(_MOST_STREAMS)

    def ServerReflectionInfo(  # noqa: N802 - the method's name in the protocol
        self, request_iterator: Iterator[reflection_pb2.ServerReflectionRequest], context: grpc.ServicerContext
    ) -> Iterator[reflection_pb2.ServerReflectionResponse]:
        if not self._places.acquire(blocking=False):
            context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f'{_MOST_STREAMS} reflection streams are open, the limit of this server: try again later.',
            )
        try:
            yield from super().ServerReflectionInfo(request_iterator, context)
        finally:
            self._places.release()


def add(server: grpc.Server, names: Iterable[str]) -> None:
    """Adds reflection on the services `names` and on itself."""
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(_Reflection((*names, SERVICE_NAME)), server)
