"""Runs signatures of SavedModels through TensorFlow's C API, without Python, as TensorFlow Serving does.

`run` starts this module as a program. The program does not import TensorFlow; it loads the libraries of the installed
TensorFlow, reads a JSON request from stdin and writes a JSON answer to stdout:

  request   {"xla": bool, "calls": [{"model": directory, "inputs": {tensor: array}, "outputs": [tensor, ...]}, ...]}
  answer    one per call, {"outputs": [array, ...]} or {"code": TF_Code, "error": message}

A tensor is `operation:index`, as in a SignatureDef. An array is {"dtype": number in types.proto, "shape": [...],
"data": base64 of its bytes; for strings, a list with base64 of each}.

Without XLA, a function with `jit_compile` fails as in a stock TensorFlow Serving on the CPU.
"""

import base64
import ctypes
import functools
import importlib.util
import json
import math
import pathlib
import subprocess
import sys

INVALID_ARGUMENT = 3
_STRING = 7
_STRING_BYTES = 24  # sizeof(TF_TString)
_DISABLE_XLA = '_ZN10tensorflow21DisableXlaCompilationEv'  # a C++ symbol, which may change with the version

# Result types other than int -> the functions that return them.
_RESULTS = {
    ctypes.c_void_p: [
        'TF_NewStatus', 'TF_NewSessionOptions', 'TF_NewGraph', 'TF_LoadSessionFromSavedModel',
        'TF_GraphOperationByName', 'TF_AllocateTensor', 'TF_TensorData',
    ],
    ctypes.c_char_p: ['TF_Message'],
    ctypes.c_size_t: ['TF_TensorByteSize', 'TF_StringGetSize'],
    ctypes.c_int64: ['TF_Dim'],
    ctypes.POINTER(ctypes.c_char): ['TF_StringGetDataPointer'],
}  # fmt: skip


class CallError(Exception):
    """The error of a failed call."""

    def __init__(self, code: int, message: str):
        super().__init__(message)
        self.code = code


class _Output(ctypes.Structure):
    """TF_Output, a tensor of the graph."""

    _fields_ = (('operation', ctypes.c_void_p), ('index', ctypes.c_int))


def run(calls: list[tuple], *, xla: bool = True, python: str = sys.executable) -> list:
    """Runs calls, `(directory, signature name, {input: array})`, in a new process.

    `python` is the interpreter whose TensorFlow runs them.

    Returns:
      per call `{output: array}`, or a `CallError`.
    """
    signatures = {directory: _signatures(directory) for directory in {call[0] for call in calls}}
    defs = [signatures[directory][name] for directory, name, _ in calls]
    request = {'xla': xla, 'calls': []}
    for (directory, _, inputs), signature in zip(calls, defs, strict=True):
        named = {signature.inputs[name].name: pack(value) for name, value in inputs.items()}
        outputs = [info.name for info in signature.outputs.values()]
        request['calls'].append({'model': str(directory), 'inputs': named, 'outputs': outputs})
    process = subprocess.run(
        [python, '-m', __name__],
        input=json.dumps(request), capture_output=True, text=True, cwd=pathlib.Path(__file__).parents[3],
    )  # fmt: skip
    if process.returncode:
        raise RuntimeError(process.stderr)
    return [_answer(answer, signature) for answer, signature in zip(json.loads(process.stdout), defs, strict=True)]


def _signatures(directory) -> dict:
    from tensorflow.core.protobuf import saved_model_pb2

    from export.artifact import versions

    saved_model = saved_model_pb2.SavedModel.FromString((pathlib.Path(directory) / versions.SAVED_MODEL).read_bytes())
    return saved_model.meta_graphs[0].signature_def


def _answer(answer: dict, signature) -> 'dict | CallError':
    if 'error' in answer:
        return CallError(answer['code'], answer['error'])
    return {name: unpack(array) for name, array in zip(signature.outputs, answer['outputs'], strict=True)}


def pack(value) -> dict:
    """Converts a NumPy array for JSON."""
    import tensorflow as tf

    kind = tf.as_dtype(value.dtype)
    data = [_to_base64(one) for one in value.ravel()] if kind == tf.string else _to_base64(value.tobytes())
    return {'dtype': kind.as_datatype_enum, 'shape': list(value.shape), 'data': data}


def unpack(array: dict):
    """Converts back to a NumPy array; strings become an array of objects, as from `Tensor.numpy()`."""
    import numpy as np
    import tensorflow as tf

    if array['dtype'] == _STRING:
        return np.array([base64.b64decode(one) for one in array['data']], object).reshape(array['shape'])
    kind = tf.as_dtype(array['dtype']).as_numpy_dtype
    return np.frombuffer(base64.b64decode(array['data']), kind).reshape(array['shape'])


def _to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode('ascii')


# --- The program: calls the C API with ctypes, without importing TensorFlow.


@functools.cache
def _library() -> ctypes.CDLL:
    folder = pathlib.Path(importlib.util.find_spec('tensorflow').submodule_search_locations[0])
    ctypes.CDLL(str(folder / 'libtensorflow_framework.so.2'), ctypes.RTLD_GLOBAL)
    library = ctypes.CDLL(str(folder / 'libtensorflow_cc.so.2'))
    for result, names in _RESULTS.items():
        for name in names:
            getattr(library, name).restype = result
    return library


def _checked(function, *arguments):
    """Calls a function whose last argument is a TF_Status; raises `CallError` if the status is not OK."""
    library = _library()
    status = ctypes.c_void_p(library.TF_NewStatus())
    try:
        result = function(*arguments, status)
        if code := library.TF_GetCode(status):
            raise CallError(code, library.TF_Message(status).decode())
        return result
    finally:
        library.TF_DeleteStatus(status)


class _Session:
    """A loaded SavedModel, never freed."""

    def __init__(self, directory: str):
        library = _library()
        self._graph = ctypes.c_void_p(library.TF_NewGraph())
        options = ctypes.c_void_p(library.TF_NewSessionOptions())
        tags = (ctypes.c_char_p * 1)(b'serve')
        try:
            session = _checked(
                library.TF_LoadSessionFromSavedModel, options, None, directory.encode(), tags, 1, self._graph, None
            )
        finally:
            library.TF_DeleteSessionOptions(options)
        self._session = ctypes.c_void_p(session)

    def __call__(self, inputs: dict[str, dict], outputs: list[str]) -> list[dict]:
        library = _library()
        given = {name: _to_tensor(array) for name, array in inputs.items()}
        found = (ctypes.c_void_p * len(outputs))()
        try:
            _checked(
                library.TF_SessionRun, self._session, None,
                self._outputs(given), (ctypes.c_void_p * len(given))(*given.values()), len(given),
                self._outputs(outputs), found, len(outputs),
                None, 0, None,
            )  # fmt: skip
            return [_from_tensor(ctypes.c_void_p(tensor)) for tensor in found]
        finally:
            for tensor in filter(None, found):
                library.TF_DeleteTensor(ctypes.c_void_p(tensor))
            for name, tensor in given.items():
                _delete(ctypes.c_void_p(tensor), inputs[name])

    def _outputs(self, names) -> ctypes.Array:
        outputs = (_Output * len(names))()
        for output, name in zip(outputs, names, strict=True):
            operation, _, index = name.rpartition(':')
            output.operation = _library().TF_GraphOperationByName(self._graph, operation.encode())
            output.index = int(index)
            if not output.operation:
                raise ValueError(f'the graph has no operation {operation!r}')
        return outputs


def _to_tensor(array: dict) -> int:
    """Returns a new TF_Tensor, which `_delete` frees."""
    library, shape = _library(), array['shape']
    count, is_string = math.prod(shape), array['dtype'] == _STRING
    data = [base64.b64decode(one) for one in array['data']] if is_string else base64.b64decode(array['data'])
    size = count * _STRING_BYTES if is_string else len(data)
    dims = (ctypes.c_int64 * len(shape))(*shape)
    tensor = library.TF_AllocateTensor(array['dtype'], dims, len(shape), ctypes.c_size_t(size))
    start = library.TF_TensorData(ctypes.c_void_p(tensor))
    if not is_string:
        ctypes.memmove(start, data, size)
        return tensor
    for string, one in zip(_strings(start, count), data, strict=True):
        library.TF_StringInit(string)
        library.TF_StringCopy(string, one, ctypes.c_size_t(len(one)))
    return tensor


def _from_tensor(tensor: ctypes.c_void_p) -> dict:
    library = _library()
    dtype = library.TF_TensorType(tensor)
    shape = [library.TF_Dim(tensor, n) for n in range(library.TF_NumDims(tensor))]
    start = library.TF_TensorData(tensor)
    if dtype != _STRING:
        data = _to_base64(ctypes.string_at(start, library.TF_TensorByteSize(tensor)))
    else:
        data = [
            _to_base64(ctypes.string_at(library.TF_StringGetDataPointer(string), library.TF_StringGetSize(string)))
            for string in _strings(start, math.prod(shape))
        ]
    return {'dtype': dtype, 'shape': shape, 'data': data}


def _delete(tensor: ctypes.c_void_p, array: dict) -> None:
    """Frees a tensor that `_to_tensor` made from `array`; TF_DeleteTensor does not free the strings."""
    library = _library()
    if array['dtype'] == _STRING:
        for string in _strings(library.TF_TensorData(tensor), math.prod(array['shape'])):
            library.TF_StringDealloc(string)
    library.TF_DeleteTensor(tensor)


def _strings(start: int, count: int) -> list[ctypes.c_void_p]:
    return [ctypes.c_void_p(start + n * _STRING_BYTES) for n in range(count)]


def main() -> None:
    request = json.load(sys.stdin)
    if not request['xla']:
        getattr(_library(), _DISABLE_XLA)()
    session, answers = functools.cache(_Session), []
    for call in request['calls']:
        try:
            answers.append({'outputs': session(call['model'])(call['inputs'], call['outputs'])})
        except CallError as failure:
            answers.append({'code': failure.code, 'error': str(failure)})
    json.dump(answers, sys.stdout)


if __name__ == '__main__':
    main()
