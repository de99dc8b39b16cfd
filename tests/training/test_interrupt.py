"""Ctrl-C: the first is noted, the second interrupts; what stood before is put back."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from mathdl.training.interrupt import InterruptAfterMinibatch


def ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


def test_the_first_is_noted_and_the_second_interrupts():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), InterruptAfterMinibatch() as interrupt:  # noqa: PT012
        assert interrupt.asked is False
        ctrl_c()
        assert interrupt.asked is True
        ctrl_c()
    assert signal.getsignal(signal.SIGINT) is before


def test_afterwards_all_is_as_before():
    before = signal.getsignal(signal.SIGINT)
    with InterruptAfterMinibatch():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(KeyboardInterrupt):
        ctrl_c()


def test_one_inside_another():
    with InterruptAfterMinibatch() as outer:
        with InterruptAfterMinibatch() as inner:
            ctrl_c()
        assert (outer.asked, inner.asked) == (False, True)
        ctrl_c()
        assert outer.asked


def test_in_another_thread_it_does_nothing():
    before, seen = signal.getsignal(signal.SIGINT), []

    def work():
        with InterruptAfterMinibatch() as interrupt:
            seen.append((interrupt.asked, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, before)]
