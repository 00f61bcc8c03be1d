"""Signals as requests."""

import concurrent.futures
import signal

import pytest

from pipeline.interrupts import Stopped, StopRequest


@pytest.mark.parametrize(('number', 'code'), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_records_a_signal_and_its_exit_code(number, code):
    with StopRequest() as stop:
        assert stop.signal is None
        assert stop.exit_code == 0
        signal.raise_signal(number)
        assert stop.signal == number
    assert stop.exit_code == code


def test_notice_is_printed_when_the_signal_arrives(capfd):
    with StopRequest('saves and stops'):
        assert capfd.readouterr().err == ''
        signal.raise_signal(signal.SIGTERM)
        assert capfd.readouterr().err == '\nSIGTERM: saves and stops\n'


def test_check_raises_after_a_signal():
    with StopRequest() as stop:
        stop.check()
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(Stopped):
            stop.check()


def test_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    try:
        with StopRequest() as stop:
            signal.raise_signal(signal.SIGHUP)
        assert stop.signal is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_other_threads_record_no_signal():
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        assert threads.submit(lambda: StopRequest().__enter__().exit_code).result() == 0


def test_second_signal_has_its_usual_effect():
    with StopRequest():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_restores_the_signal_handlers():
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before
