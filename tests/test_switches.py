"""Switches and questions by their top-level names answer as PyTorch's do."""

from __future__ import annotations

import pytest
import torch

import flambeau
from test_optim import outcome

CALLS = [
    lambda m: [m.sym_int(v) for v in (3.7, -3.7, 5)],
    lambda m: [m.sym_float(3), m.sym_sqrt(4), m.sym_sum([1, 2, 3]), m.sym_sum([])],
    lambda m: [m.sym_max(1, 2.0), m.sym_max(3, 2.0), m.sym_min(3, 2), m.sym_min(2, 3.5)],
    lambda m: [m.sym_not(True), m.sym_not(0), m.sym_ite(True, 1, 2), m.sym_ite(False, 1, 2)],
    lambda m: m.sym_ite(1, 1, 2),
    lambda m: m.sym_ite(False, 1, 2.0),
    lambda m: [m.get_deterministic_debug_mode(), m.set_deterministic_debug_mode("warn"),
               m.get_deterministic_debug_mode(), m.are_deterministic_algorithms_enabled(),
               m.set_deterministic_debug_mode(0), m.get_deterministic_debug_mode()],
    lambda m: [m.set_deterministic_debug_mode("error"), m.get_deterministic_debug_mode(),
               m.set_deterministic_debug_mode("default")],
    lambda m: m.set_deterministic_debug_mode("always"),
    lambda m: m.set_deterministic_debug_mode(3),
    lambda m: m.set_deterministic_debug_mode(1.0),
    lambda m: [m.is_warn_always_enabled(), m.set_warn_always(True), m.is_warn_always_enabled(),
               m.set_warn_always(False)],
    lambda m: m.set_warn_always(3),
    lambda m: [m.set_anomaly_enabled(True, False), m.is_anomaly_enabled(),
               m.is_anomaly_check_nan_enabled(), m.set_anomaly_enabled(False, True)],
    lambda m: [m.get_device_module(d).__name__.split(".")[-1] for d in (None, "cpu", "cuda")],
    lambda m: m.get_device_module("nothing"),
    lambda m: [m.is_vulkan_available(), m.random.thread_safe_generator()],
    lambda m: [m.set_autocast_cpu_enabled(True), m.is_autocast_cpu_enabled(),
               str(m.get_autocast_cpu_dtype()), m.set_autocast_cpu_enabled(False)],
    lambda m: [str(m.get_autocast_gpu_dtype()), m.set_autocast_gpu_dtype(m.bfloat16),
               str(m.get_autocast_gpu_dtype()), m.set_autocast_gpu_dtype(m.float16)],
    lambda m: m.set_autocast_cpu_dtype(m.bfloat16),
    lambda m: [m.autocast_increment_nesting(), m.autocast_decrement_nesting(),
               m.clear_autocast_cache()],
]  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
def test_as_pytorch(call):
    results = []
    for m in (flambeau, torch):
        value = []
        raised, warned = outcome(lambda m=m, v=value: v.append(call(m)))
        # Of errors the type is compared: device names differ, for one.
        results.append((value, raised and raised[0], [text.split(".")[1] for text in warned]))
    assert results[0] == results[1]
