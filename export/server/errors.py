"""The exception of both protocols: a gRPC code and the HTTP status to which TensorFlow Serving maps it."""

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
    """A request whose answer is an error, in either protocol."""

    def __init__(self, code: grpc.StatusCode, message: str):
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def http_status(self) -> int:
        return HTTP_STATUS[self.code]


class BodyTooLargeError(ServingError):
    """A request whose body exceeds the limit; TensorFlow Serving does not limit bodies over REST."""

    http_status = 413

    def __init__(self, message: str):
        super().__init__(grpc.StatusCode.RESOURCE_EXHAUSTED, message)


class BodyTimeoutError(ServingError):
    """A request whose body does not arrive in time; the client is late, so the status is not 5xx."""

    http_status = 408

    def __init__(self, message: str):
        super().__init__(grpc.StatusCode.DEADLINE_EXCEEDED, message)


CUT_OFF = ServingError(
    grpc.StatusCode.UNAVAILABLE, 'the server shut down before the answer was ready: send the request to another server.'
)


def invalid(message: str) -> ServingError:
    """Returns the error of a request that breaks a rule."""
    return ServingError(grpc.StatusCode.INVALID_ARGUMENT, message)


def from_tensorflow(error: tf.errors.OpError) -> ServingError:
    """Maps the code, which is gRPC's too; an assertion in the graph keeps only its own message."""
    message = assertions.sentence(error.message)
    code = _CODES.get(error.error_code, grpc.StatusCode.UNKNOWN)
    return ServingError(code, message)


def from_exception(error: Exception) -> ServingError:
    """Returns a ServingError without a traceback: a traceback would keep the half-loaded model alive."""
    if isinstance(error, ServingError):
        return ServingError(error.code, error.message)
    if isinstance(error, tf.errors.OpError):
        return from_tensorflow(error)
    code = grpc.StatusCode.NOT_FOUND if isinstance(error, FileNotFoundError) else grpc.StatusCode.UNKNOWN
    return ServingError(code, (str(error) or type(error).__name__).splitlines()[0])
