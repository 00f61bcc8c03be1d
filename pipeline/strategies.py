"""The strategy of a run: one device, the GPUs of a machine, or several machines."""

import contextlib
import hashlib
import json
import math
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from data.errors import InputError
from pipeline import devices
from pipeline.config import Config
from pipeline.replicas import Replicas

STOPPED = 143
"""Exit code of a worker that ends because another worker received a signal: not 0, so that a supervisor restarts it."""

_SECONDS_BETWEEN_LOOKS = 1.0
_SECONDS_BETWEEN_TRIES = 0.1
_SECONDS_BETWEEN_LINES = 60.0
# The others affect what a worker computes, or when it does what all do together.
_MAY_DIFFER = {'corpus', 'valid_corpus', 'test_corpus', 'prefixes', 'profile_steps', 'strategy', 'worker_timeout'}


class Cluster(NamedTuple):
    """The workers of a job, as the environment variable TF_CONFIG names them."""

    addresses: tuple[str, ...]
    """`host:port` of each; the first is the chief, which alone writes."""
    own: int
    """The place of this process among them."""

    @property
    def others(self) -> list[str]:
        """The addresses of the other workers."""
        return [address for number, address in enumerate(self.addresses) if number != self.own]


def cluster() -> Cluster | None:
    """Returns the cluster of TF_CONFIG; None if that is not set, or names no other worker.

    Raises:
      InputError: TF_CONFIG is malformed, or has tasks that are not for training.
    """
    text = os.environ.get('TF_CONFIG', '')
    if not text:
        return None
    try:
        content = json.loads(text)
        jobs = content['cluster']
        kind, index = content['task']['type'], int(content['task']['index'])
        addresses = (*jobs.get('chief', ()), *jobs.get('worker', ()))
        own = index + (len(jobs.get('chief', ())) if kind == 'worker' else 0)
        if jobs.keys() - {'chief', 'worker'} or kind not in jobs or addresses[own] != jobs[kind][index]:
            raise KeyError(kind)
        if not all(re.fullmatch('.+:[0-9]+', address) and _port(address) < 2**16 for address in addresses):
            raise ValueError(addresses)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise InputError(
            f'TF_CONFIG={text!r} does not name this worker ({error!r}): it must be JSON such as {{"cluster": '
            f'{{"worker": ["host1:2222", "host2:2222"]}}, "task": {{"type": "worker", "index": 0}}}}.'
        ) from error
    return Cluster(addresses, own) if len(addresses) > 1 else None


def _port(address: str) -> int:
    return int(address.rpartition(':')[2])


class Strategy(NamedTuple):
    """How a run trains."""

    name: str
    """One of `config.STRATEGIES` but `auto`."""
    cluster: Cluster | None
    """Of a run on several workers; None: this process trains alone."""

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the run; it does unless it is another worker than the first."""
        return not self.cluster or self.cluster.own == 0


def resolved(name: str) -> Strategy:
    """Returns the strategy of one of `config.STRATEGIES` in this environment.

    Raises:
      InputError: the strategy and the environment do not fit each other.
    """
    found = cluster()
    if name == 'multi_worker' and not found:
        raise InputError(
            'strategy=multi_worker needs several workers, but the environment variable TF_CONFIG names none: set it in '
            'each worker, or use --strategy=one_device.'
        )
    if name == 'mirrored' and not tf.config.list_physical_devices('GPU'):
        raise InputError('strategy=mirrored trains on the GPUs of this machine, but TensorFlow finds none. Use auto.')
    if name == 'auto':
        name = 'multi_worker' if found else 'one_device'
    return Strategy(name, found if name == 'multi_worker' else None)


def start(strategy: Strategy, config: Config, corpus_sha256: str) -> tuple[str, Replicas | None]:
    """Returns the device, and the replicas if there are several, when all workers have started.

    Args:
      strategy: of the run.
      config: the settings.
      corpus_sha256: of the text.

    Raises:
      InputError: another worker has other settings or another text.
    """
    device, workers = devices.prepare(all_gpus=strategy.name == 'mirrored'), strategy.cluster
    if workers:
        wait_for(workers)
        replicas = Replicas(_joined(), workers.own, len(workers.addresses))
        _check_same(replicas, config, corpus_sha256)
        return f'{len(workers.addresses)} workers, here the {device}', replicas
    return device, Replicas(tf.distribute.MirroredStrategy()) if strategy.name == 'mirrored' else None


def _joined() -> tf.distribute.Strategy:
    """Returns the strategy of several workers. TensorFlow takes SIGTERM for itself; this gives it back."""
    of_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    finally:
        signal.signal(signal.SIGTERM, of_sigterm)


def wait_for(workers: Cluster, clock: Callable[[], float] = time.monotonic) -> None:
    """Returns when each other worker has been reached once; says which are missing, once a minute.

    TensorFlow would wait as well, but without hearing of Ctrl-C. Until it listens on the port of this worker, this
    does.

    Raises:
      InputError: another program uses the port.
    """
    missing, last_line = workers.others, -math.inf
    port = _port(workers.addresses[workers.own])
    try:
        listening = socket.create_server(('', port))
    except OSError as error:
        raise InputError(f'port {port}, which TF_CONFIG gives this worker, cannot be used: {error}.') from error
    with listening:
        while missing := [address for address in missing if not _answers(address)]:
            if clock() - last_line >= _SECONDS_BETWEEN_LINES:
                print(f'worker {workers.own} of {len(workers.addresses)}: waits for {", ".join(missing)}', flush=True)
                last_line = clock()
            time.sleep(_SECONDS_BETWEEN_TRIES)


def _check_same(replicas: Replicas, config: Config, corpus_sha256: str) -> None:
    """Raises `InputError` unless all workers have the same settings and text."""
    values = {name: value for name, value in config.to_dict().items() if name not in _MAY_DIFFER}
    digest = hashlib.sha256(json.dumps([values, corpus_sha256]).encode()).digest()
    own = int.from_bytes(digest[:7])
    of_chief = tf.Variable(own, dtype=tf.int64)
    replicas.take_from_chief([of_chief])
    if any(replicas.any(int(of_chief) != own)):
        raise InputError('the workers differ in their settings or texts: start all with the same flags and texts.')


class Watch:
    """Ends the process when another worker cannot be reached for some time.

    A worker that waits for a dead one may wait for ever, and nothing but the end of the process interrupts it.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        timeout: float,
        end: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ):
        """`end` is called, with the reason, when one of `addresses` could not be reached for `timeout` seconds."""
        self._last_seen = dict.fromkeys(addresses, clock())
        self._timeout, self._end, self._clock = timeout, end, clock
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> 'Watch':
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def look(self) -> None:
        """Tries to reach each worker."""
        for address, last_seen in self._last_seen.items():
            if _answers(address):
                self._last_seen[address] = self._clock()
            elif self._clock() - last_seen >= self._timeout:
                self._end(f'worker {address} has not answered for {self._timeout:g} s')

    def _watch(self) -> None:
        while not self._stopped.wait(_SECONDS_BETWEEN_LOOKS):
            self.look()


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(':')
    try:
        with socket.create_connection((host.strip('[]'), int(port)), timeout=_SECONDS_BETWEEN_LOOKS):
            return True
    except OSError:
        return False


def watch(strategy: Strategy, timeout: float) -> contextlib.AbstractContextManager:
    """Returns a context in which the process ends when another worker is lost for `timeout` seconds."""
    workers = strategy.cluster
    return Watch(workers.others, timeout, end_process) if workers else contextlib.nullcontext()


def end_process(reason: str) -> None:
    """Ends the process at once, with exit code 1."""
    print(f'error: {lost(reason)}', file=sys.stderr, flush=True)
    os._exit(1)


def lost(reason: str) -> str:
    """Returns an error message for the loss of a worker."""
    abort = re.search('aborted by: ([^\n]*)', reason)  # TensorFlow's messages have many more lines
    return f'{abort[1] if abort else reason}: a worker was lost. Start all again: the run goes on from its checkpoint.'
