"""Runs the compiler's plans through llvmlite, for tests and benchmarks of single kernels."""

from __future__ import annotations

import ctypes

import llvmlite.binding as llvm
import numpy as np

from flambeau.run.compiler.target import host

_GUARD = 256
_engines = {}


def compiled(kernel):
    """The native function of a kernel's text."""
    if kernel.name not in _engines:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        target = host()
        module = llvm.parse_assembly(kernel.text)
        module.verify()
        machine = llvm.Target.from_triple(target.triple).create_target_machine(
            cpu=target.cpu, features=target.features, opt=2, codemodel="jitdefault"
        )
        engine = llvm.create_mcjit_compiler(module, machine)
        engine.finalize_object()
        kind = ctypes.CFUNCTYPE(
            None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p
        )
        _engines[kernel.name] = engine, kind(engine.get_function_address(kernel.name))
    return _engines[kernel.name][1]


def lent(nbytes, fill=0):
    """Memory that starts at a multiple of 64 bytes, every byte ``fill``."""
    room = np.full(nbytes + 128, fill, np.uint8)
    return room[-room.ctypes.data % 64 :][:nbytes]


class Runner:
    """A plan with the memory it needs: call it with arrays for its inputs."""

    def __init__(self, plan, out_avals, fill=0xFF):
        self.plan = plan
        self.functions = [compiled(stage.kernel) for stage in plan.stages]
        self.guarded = []
        for aval in out_avals:
            dtype = np.dtype(aval.dtype.name)
            size = int(np.prod(aval.shape, dtype=np.int64)) * dtype.itemsize
            memory = lent(size + 2 * _GUARD, 0xA5)
            self.guarded.append((memory, size, dtype, aval.shape))
        self.outputs = [
            memory[_GUARD : _GUARD + size].view(dtype).reshape(shape)
            for memory, size, dtype, shape in self.guarded
        ]
        # Kernels may rely on nothing in here: every byte set makes NaN.
        self.workspace = lent(plan.workspace + _GUARD, fill)
        self.scratch = lent(max(stage.kernel.scratch for stage in plan.stages) + _GUARD, fill)
        self.scratch_used = max(stage.kernel.scratch for stage in plan.stages)

    def bind(self, *inputs):
        """A function without arguments that runs every stage over all its units."""
        calls = []
        for stage, function in zip(self.plan.stages, self.functions, strict=True):
            table = self.table(stage, inputs)
            calls.append((function, ctypes.addressof(table), stage.units, table))
        scratch = self.scratch.ctypes.data
        # The function keeps alive what it has only the addresses of.
        calls = [(*call, self, inputs) for call in calls]

        def run():
            for function, table, units, *_ in calls:
                function(table, 0, units, scratch)

        return run

    def table(self, stage, inputs):
        named = {str(i): array for i, array in enumerate(inputs)}
        named |= {f"out{i}": array for i, array in enumerate(self.outputs)}
        named["w"] = self.workspace
        addresses = [named[name].ctypes.data for name in stage.operands]
        return (ctypes.c_void_p * len(addresses))(*addresses)

    def run(self, *inputs, cuts=None):
        """Runs the stages; ``cuts`` maps a number of units to ranges, in any order."""
        for stage, function in zip(self.plan.stages, self.functions, strict=True):
            table = self.table(stage, inputs)
            for begin, end in cuts(stage.units) if cuts else [(0, stage.units)]:
                function(ctypes.addressof(table), begin, end, self.scratch.ctypes.data)
        return self.outputs

    def check_guards(self):
        """Nothing beside the outputs, the workspace and the scratch memory was written."""
        for memory, size, _, _ in self.guarded:
            assert (memory[:_GUARD] == 0xA5).all()
            assert (memory[_GUARD + size :] == 0xA5).all()
        assert (self.workspace[self.plan.workspace :] == self.workspace[-1]).all()
        assert (self.scratch[self.scratch_used :] == self.scratch[-1]).all()
