"""The signals that stop a run."""

from __future__ import annotations

import os
import signal

import pytest

from headstart.runtime import signals


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_deferred_once_and_then_stops(signum: signal.Signals) -> None:
    surroundings = signal.signal(signum, signal.default_int_handler)  # the tests may run under nohup
    try:
        with signals.raise_on_signals():
            with signals.defer_signals():
                os.kill(os.getpid(), signum)
                assert signals.requested_stop() == signum
                with pytest.raises(signals.Stopped, match=signum.name):
                    os.kill(os.getpid(), signum)
            with pytest.raises(signals.Stopped) as caught:
                os.kill(os.getpid(), signum)
        assert caught.value.exit_code == 128 + signum
        assert signal.getsignal(signum) is signal.default_int_handler
    finally:
        signal.signal(signum, surroundings)


def test_nohup_keeps_a_run_from_being_stopped_by_its_terminal() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals.raise_on_signals():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signals.requested_stop() is None
    finally:
        signal.signal(signal.SIGHUP, before)
