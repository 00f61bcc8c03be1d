"""Signals as requests."""

import signal

import pytest

from pipeline.interrupts import StopRequest


@pytest.mark.parametrize(('number', 'code'), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_notes_a_signal_and_knows_its_exit_code(number, code):
    with StopRequest() as stop:
        assert stop.signal is None
        assert stop.exit_code == 0
        signal.raise_signal(number)
        assert stop.signal == number
    assert stop.exit_code == code


def test_the_second_signal_acts_as_always():
    with StopRequest():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_leaves_the_handlers_as_they_were():
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before
