"""The one exception behind both protocols: a gRPC code, and the HTTP status that TensorFlow Serving gives for it."""

import grpc
import tensorflow as tf

from export.artifact import assertions

_CODES = {code.value[0]: code for code in grpc.StatusCode}

HTTP_STATUS = {
    grpc.StatusCode.OK: 200,
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.UNKNOWN: 500,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DATA_LOSS: 500,
    grpc.StatusCode.UNAUTHENTICATED: 401,
}


class ServingError(Exception):
    """A request that gets an error for an answer, in either protocol."""

    def __init__(self, code: grpc.StatusCode, message: str):
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def http_status(self) -> int:
        return HTTP_STATUS[self.code]


class BodyTooLargeError(ServingError):
    """A request whose body is larger than this server reads; TensorFlow Serving has no such limit over REST."""

    http_status = 413

    def __init__(self, message: str):
        super().__init__(grpc.StatusCode.RESOURCE_EXHAUSTED, message)


class BodyTimeoutError(ServingError):
    """A request whose body does not arrive: the client is what is late, so it is none of the 5xx."""

    http_status = 408

    def __init__(self, message: str):
        super().__init__(grpc.StatusCode.DEADLINE_EXCEEDED, message)


CUT_OFF = ServingError(grpc.StatusCode.UNAVAILABLE, 'the server shut down before the answer was there: ask another.')


def invalid(message: str) -> ServingError:
    """What a request gets that cannot be answered as it is."""
    return ServingError(grpc.StatusCode.INVALID_ARGUMENT, message)


def from_tensorflow(error: tf.errors.OpError) -> ServingError:
    """TensorFlow's codes are gRPC's; an assertion in the graph says its own sentence."""
    message = assertions.sentence(error.message)
    code = _CODES.get(error.error_code, grpc.StatusCode.UNKNOWN)
    return ServingError(code, message)


def from_exception(error: Exception) -> ServingError:
    """Why a model cannot be loaded, without the trace, which would keep what was loaded of it."""
    if isinstance(error, ServingError):
        return ServingError(error.code, error.message)
    if isinstance(error, tf.errors.OpError):
        return from_tensorflow(error)
    code = grpc.StatusCode.NOT_FOUND if isinstance(error, FileNotFoundError) else grpc.StatusCode.UNKNOWN
    return ServingError(code, (str(error) or type(error).__name__).splitlines()[0])
