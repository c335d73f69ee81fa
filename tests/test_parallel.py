"""Models spread over devices: on a machine with none, the same as with PyTorch."""

from __future__ import annotations

import flambeau
from test_nn_utils import agree, refuse_alike


def test_data_parallel_calls_its_module():
    def run(m):
        net = m.nn.DataParallel(m.nn.Linear(2, 3), device_ids=None)
        x = m.ones(4, 2)
        assert isinstance(net, m.nn.parallel.DataParallel)
        return [repr(net), dict(net.state_dict()), net(x), net.module(x), net.device_ids]

    agree(run)
    refuse_alike(lambda m: m.nn.parallel.data_parallel(m.nn.Linear(1, 1), m.ones(1, 1)))


def test_without_a_group_of_processes_there_is_no_distributed_model():
    refuse_alike(lambda m: m.nn.parallel.DistributedDataParallel(m.nn.Linear(1, 1)))
    assert not isinstance(flambeau.nn.Linear(1, 1), flambeau.nn.parallel.DistributedDataParallel)


def switches(m):
    c = m.backends.cuda
    return [
        c.flash_sdp_enabled(), c.math_sdp_enabled(),
        c.mem_efficient_sdp_enabled(), c.cudnn_sdp_enabled(),
    ]  # fmt: skip


def test_the_kernels_that_attention_may_choose():
    def run(m):
        from_name = m.nn.attention.SDPBackend
        results = [[(name, int(getattr(from_name, name))) for name in ("MATH", "ERROR")]]
        x = m.arange(8.0).view(1, 1, 2, 4)
        for chosen in (from_name.MATH, [from_name.MATH, from_name.FLASH_ATTENTION]):
            with m.nn.attention.sdpa_kernel(chosen):
                results += [switches(m), m.nn.functional.scaled_dot_product_attention(x, x, x)]
        return [*results, switches(m)]

    agree(run)
    for wrong in (3, "MATH"):
        refuse_alike(lambda m, w=wrong: m.nn.attention.sdpa_kernel(w).__enter__())
