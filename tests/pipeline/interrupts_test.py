"""Signals as requests."""

import signal

import pytest

from pipeline.interrupts import StopRequest


@pytest.mark.parametrize(('number', 'code'), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_records_a_signal_and_its_exit_code(number, code):
    with StopRequest() as stop:
        assert stop.signal is None
        assert stop.exit_code == 0
        signal.raise_signal(number)
        assert stop.signal == number
    assert stop.exit_code == code


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
