"""The server: its models and both protocols, from start to stop."""

import contextlib
import pathlib
import threading
import traceback
from collections.abc import Callable, Sequence

from data.errors import InputError
from export.artifact import versions
from export.server import drain, ports
from export.server.metrics import Metrics
from export.server.models import example
from export.server.models.config import ModelConfig
from export.server.models.manager import Manager
from export.server.models.servable import Servable, warm_up, warm_up_stream
from export.server.options import Options
from export.server.predictor import Predictor, specification
from export.server.rest.listener import RestServer
from export.server.rpc.services import GrpcServer


class Server:
    """Serves from `start` to `stop`; both ports are known after construction."""

    def __init__(self, models: Sequence[ModelConfig], options: Options, report: Callable[[str], None]):
        """Loads the models; `report` prints a line.

        Raises:
          InputError: a port is not available, which is known before the models are loaded, or a model has no version
            to serve.
        """
        with ports.listen(options.host, options.rest_api_port, 'rest_api_port'):  # the two ports must differ
            ports.check_free(options.host, options.port, 'port')
        self._options = options
        self._report = report
        self.manager = Manager(
            models,
            self._load,
            max_num_load_retries=options.max_num_load_retries,
            load_retry_interval=options.load_retry_interval_micros / 1e6,
            report=report,
        )
        self.manager.poll()
        for model in models:
            _check_available(self.manager, model)
        self.predictor = Predictor(self.manager, options.max_concurrent_requests)
        metrics = Metrics(self.manager.names)
        self._grpc = GrpcServer(
            self.predictor,
            metrics,
            options.host,
            options.port,
            max_concurrent_requests=options.max_concurrent_requests,
            max_body_bytes=options.max_body_bytes,
        )
        self._rest = RestServer(self.predictor, metrics, options)  # last: nothing would close its port after an error
        self._stopping = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name='watcher', daemon=True)

    @property
    def rest_port(self) -> int:
        return self._rest.port

    @property
    def grpc_port(self) -> int:
        return self._grpc.port

    def example(self, name: str) -> str:
        """Returns the body of a request that the model answers."""
        with self.manager.lease(specification(name)) as servable:
            return example.body(servable)

    def start(self) -> None:
        """Answers requests and watches for new versions from now on."""
        self._rest.start()
        self._grpc.start()
        self._watcher.start()

    def stop(self) -> int:
        """Refuses new requests and lets those in progress end, for at most `drain_seconds`.

        Returns:
          the number of requests that were cut off.
        """
        self._stopping.set()
        self._grpc.not_serving()
        self._rest.begin_stop()
        cut_off = self._grpc.stop(self._options.drain_seconds) + self._rest.wait()
        self.predictor.close()
        self._watcher.join(drain.LINGER)
        return cut_off

    @property
    def is_loading(self) -> bool:
        """Whether a stopped server still loads a version."""
        return self._watcher.is_alive()

    def _load(self, name: str, version: int, directory: pathlib.Path) -> Servable:
        servable = Servable(name, version, directory, self._options.batches, self._options.max_rows)
        if self._options.enable_model_warmup:
            warm_up(servable)
        warm_up_stream(servable)
        return servable

    def _watch(self) -> None:
        wait, reported = self._options.file_system_poll_wait_seconds, None
        while wait and not self._stopping.wait(wait):
            problem = self._poll()
            if problem is not None and problem != reported:
                with contextlib.suppress(OSError, ValueError):  # stderr may be closed
                    self._report(problem)
            reported = problem

    def _poll(self) -> str | None:
        """Polls the manager once; returns the error, if any. The next poll may succeed."""
        try:
            self.manager.poll()
        except (InputError, OSError) as error:
            return str(error)
        except Exception:  # a bug of the server
            return traceback.format_exc()
        return None


def _check_available(manager: Manager, model: ModelConfig) -> None:
    available, problem = manager.available(model.name), manager.problem(model.name)
    if not available:
        found = list(versions.versions(model.base_path))
        if found and not problem:
            raise InputError(
                f'model_version_policy of model {model.name} names {list(model.specific or ())}, '
                f'which are not among its versions {found}.'
            )
        raise InputError(_nothing_to_serve(model.base_path, problem))
    missing = {label: version for label, version in model.labels.items() if version not in available}
    if missing:
        raise InputError(f'version_labels of model {model.name}: {missing} are not among its versions {available}.')


def _nothing_to_serve(base_path: pathlib.Path, problem: str | None) -> str:
    """Returns why `base_path` has nothing to serve and what to do; `problem` is the error of a version, if any."""
    if base_path.exists() and not base_path.is_dir():
        return f'{str(base_path)!r} is not a folder: use the folder that holds the versions of a model.'
    if not problem and versions.is_version(base_path):
        version_dir = base_path.absolute()
        named = '' if version_dir.name.isdecimal() else ', and rename the version to a number'
        return (
            f'{str(base_path)!r} is one version of a model: use the folder that holds it, {str(version_dir.parent)!r}'
            f'{named}.'
        )
    what = f'no version that can be served: {problem.rstrip(".")}' if problem else 'no exported model'
    return f'{str(base_path)!r} holds {what}. Make one with python -m export.saved_model --model_dir={base_path}.'
