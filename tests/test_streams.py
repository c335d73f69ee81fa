"""Queues of work as they are on a CPU, and the processor's treatment of denormal numbers."""

from __future__ import annotations

import platform

import pytest
import torch

import flambeau

MODULES = (torch, flambeau)


def test_events():
    found = []
    for m in MODULES:
        event = m.Event(enable_timing=True)
        facts = [repr(event), event.query(), event.wait(), event.synchronize(), event.event_id]
        facts += [str(event.device), repr(m.Stream()), repr(m.Stream(device="cpu"))]
        for call in (event.record, lambda: event.elapsed_time(event), event.ipc_handle):  # noqa: B023
            with pytest.raises((RuntimeError, ValueError)) as caught:
                call()
            facts.append((caught.type, str(caught.value)))
        with pytest.raises(RuntimeError):
            m.Event("cuda" if m is torch else "xpu")
        found.append(facts)
    assert found[1] == found[0]


def test_the_queue_of_the_cpu():
    for m in MODULES:
        with m.cpu.stream(m.cpu.Stream()):
            assert isinstance(m.cpu.current_stream(), m.cpu.Stream)
        event = m.cpu.Event()
        event.record()
        event.wait()
        assert event.query()
        m.cpu.set_device("cpu")


def test_denormal_numbers():
    known = platform.machine() in ("x86_64", "AMD64") and platform.libc_ver()[0] == "glibc"
    for m in MODULES:
        x = m.tensor([1e-310, 1.0], dtype=m.float64)
        try:
            assert m.set_flush_denormal(True) is (known or m is torch)
            flushed = (x * 1).tolist()
        finally:
            m.set_flush_denormal(False)
        assert flushed == ([0.0, 1.0] if known else [1e-310, 1.0])
        assert (x * 1).tolist() == [1e-310, 1.0]
