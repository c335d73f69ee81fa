"""The compiler's runtime: native launches, the pool of threads, processes."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time

import numpy as np
import pytest

from flambeau.run.compiler import code, launch, threads, threads_memory
from native_programs import (
    LONG,
    add_numbers,
    add_program,
    adder,
    addresses,
    check,
    count_program,
    counter,
    not_the_users_cache,  # noqa: F401  (a fixture that is always on)
    ones,
    restored_threads,  # noqa: F401  (a fixture)
    run_python,
    sum_by_scratch,
)


def test_a_launch_runs_the_steps_in_order():
    program = add_program(5, 5, steps=3)
    a, b, out = np.arange(5, dtype=np.float32), ones(5), np.zeros(5, np.float32)
    assert program.call([a, b], [out], []) == 0
    assert out.tolist() == (a + 3).tolist()
    assert program.call((a, a), (out,), ()) == 0
    assert out.tolist() == (4 * a).tolist()
    assert program.done[0] == 2


def test_numbers_arrive_as_their_kinds():
    (total,) = addresses(sum_by_scratch())
    threads.ensure_scratch(4096)
    table = np.zeros(3, np.int64)
    step = launch.Step(total, (0, 1, 2), 4, 4)
    numbers = [(2, launch.FLOAT, 1), (0, launch.INT, 2)]
    program = launch.assemble([step], table, [], [0], numbers)
    out = np.zeros(4)
    for given in ([3, None, 0.5], [-1, None, np.float32(-1)], [True, None, -1], [2**62, 0, np.e]):
        assert program.call([], [out], given) == 0
        assert (out == float(given[2]) + float(int(given[0]))).all()
    for given, error in (
        ([3, None, "x"], TypeError),
        ([3.5, None, 1.0], TypeError),
        ([2**63, None, 1.0], OverflowError),
        ([1, None, 10**400], OverflowError),
        ([3], ValueError),
    ):
        with pytest.raises(error):
            program.call([], [out], given)
    assert program.done[0] == 4
    assert program.call([], [out], [3, None, 0.5]) == 0


def test_a_number_may_launch_the_program_itself():
    program = add_numbers()
    out, inner = np.zeros(4), np.zeros(4)

    class Reenters:
        def __float__(self) -> float:
            assert program.call([], [inner], [1.0, 2]) == 0
            return 3.0

    assert program.call([], [out], [Reenters(), 4]) == 0
    assert (inner == 3).all() and (out == 7).all()


def test_arrays_that_are_not_plain_are_named_and_nothing_runs():
    program = add_program(4, 4)
    a, out = ones(4), np.zeros(4, np.float32)
    strided = np.ones(8, np.float32)[::2]
    unaligned = np.ones(17, np.uint8)[1:].view(np.float32)
    for other in (strided, unaligned, 1.0, [1.0], a.view(np.recarray)):
        assert program.call([other, a], [out], []) == 1
        assert program.call([a, other], [out], []) == 2
        assert program.call([a, a], [other], []) == -1
    assert program.done[0] == 0 and not out.any()
    assert program.call([a, a], [out], []) == 0


def test_other_arguments_are_refused():
    program = add_program(4, 4)
    a, out = ones(4), np.zeros(4, np.float32)
    for given in (
        (),
        ([a, a], [out]),
        ([a], [out], []),
        ([a, a], [], []),
        ({}, [out], []),
        ([a, a], a, []),
        ([a, a], [out], None),
        ([a, a], [out], [], [], []),
    ):
        with pytest.raises(ValueError, match="launch"):
            program.call(*given)
    with pytest.raises(TypeError):
        program.call([a, a], [out], numbers=[])
    with pytest.raises(ValueError, match="desc"):
        launch.make(np.zeros(3, np.int64))


def test_no_reference_is_kept_or_lost():
    program = add_program(4, 4)
    a, b, out = ones(4), ones(4), np.zeros(4, np.float32)
    inputs, outs, numbers, bad = [a, b], [out], [1.5], [a, a[::2]]
    watched = [a, b, out, inputs, outs, numbers, bad, bad[1]]
    before = [sys.getrefcount(x) for x in watched]
    for _ in range(1000):
        program.call(inputs, outs, numbers)
        program.call(bad, outs, numbers)
        with pytest.raises(ValueError):
            program.call(inputs, inputs, numbers)
    gc.collect()
    after = [sys.getrefcount(x) for x in watched]
    assert [n - m for m, n in zip(before, after)] == [0] * len(watched)


def test_a_function_keeps_what_it_points_to():
    call = add_program(4, 4, steps=4).call
    gc.collect()
    clutter = [np.full(64, -1) for _ in range(1000)]
    out = np.zeros(4, np.float32)
    assert call([ones(4), ones(4)], [out], []) == 0
    assert out.tolist() == [5] * 4
    del clutter


def test_steps_after_a_fault_are_not_run():
    program_fault = np.zeros(1, np.int64)
    count, add = addresses(counter(), adder())
    steps = [launch.Step(count, (0,), 1, 1), launch.Step(add, (1, 1, 1), 4, 4)]
    table = np.array([program_fault.ctypes.data, 0], np.int64)
    for release in (False, True):
        program = launch.assemble(
            steps, table, [], [1], release=release, fault=program_fault.ctypes.data
        )
        out = ones(4)
        for _ in range(2):
            assert program.call([], [out], []) == launch.FAULTY
        assert program_fault[0] and program.done[0] == 0 and (out == 1).all()


# Threads


@pytest.mark.parametrize(("release", "quiet"), [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize("nap", [0, 2e-3])
def test_threads_change_no_result(restored_threads, release, quiet, nap):
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 1003), np.float32)
    program = add_program(1003, 10, steps=3, release=release, quiet=quiet)
    for count in (1, 2, 4, 1, 3):
        threads.set_num_threads(count)
        assert threads.get_num_threads() == count
        for _ in range(10 if nap else 300):
            out = np.zeros(1003, np.float32)
            assert program.call([a, b], [out], []) == 0
            assert (out == a + b + b + b).all()
            time.sleep(nap)  # the workers fall asleep


def test_without_a_futex_workers_nap(restored_threads):
    threads.prepare()
    threads.set_num_threads(1)
    futex = threads_memory.root("futex")
    threads_memory.set_root("futex", 0)
    try:
        threads.set_num_threads(3)
        total = np.zeros(1, np.int64)
        program = count_program(1000, 10)
        for _ in range(20):
            assert program.call([], [total], []) == 0
            time.sleep(1e-3)
        assert total[0] == 20 * 1000
        threads.set_num_threads(1)
    finally:
        threads_memory.set_root("futex", futex)


def test_every_unit_runs_once(restored_threads):
    for count in (1, 2, 4):
        threads.set_num_threads(count)
        for units, chunk in ((0, 1), (1, 1), (7, 3), (1000, 1), (1000, 999), (3, 10)):
            total = np.zeros(1, np.int64)
            program = count_program(units, chunk)
            for _ in range(50):
                assert program.call([], [total], []) == 0
            assert total[0] == 50 * units


def test_every_thread_has_scratch_memory_of_its_own(restored_threads):
    threads.set_num_threads(4)
    program = add_numbers(2000, 5)
    for i in range(100):
        out = np.zeros(2000)
        assert program.call([], [out], [0.5, i]) == 0
        assert (out == i + 0.5).all()


def test_the_number_of_threads_is_checked():
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="positive"):
            threads.set_num_threads(wrong)


def test_the_environment_says_how_many_threads(tmp_path):
    text = """
        from flambeau.run.compiler import threads
        print(threads.get_num_threads())
    """
    assert check(run_python(text, tmp_path, OMP_NUM_THREADS="3")) == "3"
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert check(run_python(text, tmp_path, OMP_NUM_THREADS="")) == str(there)


def test_launches_of_several_threads_agree(restored_threads):
    """Of one program and of several, with the GIL and without, while the pool changes."""
    threads.set_num_threads(2)
    size = 20011
    shared = add_program(size, 500, steps=4, release=True)
    wrong: list[object] = []
    stop = threading.Event()

    def launches(seed: int) -> None:
        rng = np.random.default_rng(seed)
        a, b = rng.random((2, size), np.float32)
        own = add_program(size, 500, steps=4, release=seed % 2 == 0)
        scalars = add_numbers(64, 3, release=True)
        while not stop.is_set():
            for program in (own, shared):
                out = np.zeros(size, np.float32)
                program.call([a, b], [out], [])
                if not (out == a + b + b + b + b).all():
                    wrong.append(seed)
            number = np.zeros(64)
            scalars.call([], [number], [0.25, seed])
            if not (number == 0.25 + seed).all():
                wrong.append((seed, number))

    runners = [threading.Thread(target=launches, args=(seed,)) for seed in range(4)]
    for runner in runners:
        runner.start()
    for turn in range(20):
        time.sleep(0.03)
        threads.set_num_threads(1 + turn % 4)
        threads.ensure_scratch(4096 + 1024 * turn)
    stop.set()
    for runner in runners:
        runner.join()
    assert not wrong


# Processes


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


def in_child(work) -> int:
    """The exit status of a forked child that runs ``work``: 0 if that is true."""
    child = os.fork()
    if not child:
        status = 1
        try:
            signal.alarm(30)
            status = 0 if work() else 2
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@needs_fork
def test_a_forked_child_launches_compiles_and_has_threads(restored_threads):
    threads.set_num_threads(3)
    program = add_program(1000, 10)
    a, out = ones(1000), np.zeros(1000, np.float32)
    program.call([a, a], [out], [])
    before = code.stats.compiled

    def work() -> bool:
        out[:] = 0
        assert program.call([a, a], [out], []) == 0 and (out == 2).all()
        assert threading.active_count() == 3
        code.request([adder(os.getpid())]).wait()
        assert code.stats.compiled == before + 1
        total = np.zeros(1, np.int64)
        assert count_program(1000, 1).call([], [total], []) == 0
        # A grandchild as well.
        return total[0] == 1000 and in_child(lambda: not program.call([a, a], [out], [])) == 0

    for _ in range(3):
        assert in_child(work) == 0
    assert program.call([a, a], [out], []) == 0 and (out == 2).all()


@needs_fork
def test_a_fork_during_compilation_and_during_a_launch(restored_threads):
    threads.set_num_threads(2)
    program = count_program(LONG, LONG // 8, release=True)
    total = np.zeros(1, np.int64)
    other = threading.Thread(target=program.call, args=([], [total], []))
    pending = code.request([adder(n + os.getpid() + 0.5) for n in range(20)])
    other.start()

    def work() -> bool:
        # The launch that was running holds this program and the pool: not in this process.
        mine = add_program(100, 10)
        out = np.zeros(100, np.float32)
        assert mine.call([ones(100), ones(100)], [out], []) == 0 and (out == 2).all()
        return len(pending.wait()) == 20

    assert in_child(work) == 0
    other.join()
    assert total[0] == LONG and len(pending.wait()) == 20


@pytest.fixture
def interruptible():
    """A shell that runs the tests in the background has them ignore the signal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupted_launch_says_whether_it_ran(interruptible):
    """The signal comes while a program runs; the exception, after it."""
    program = count_program(LONG, LONG, release=True)
    total = np.zeros(1, np.int64)
    interrupted = 0
    for _ in range(5):
        before = program.done[0], total[0]
        timer = threading.Timer(0.02, signal.raise_signal, (signal.SIGINT,))
        timer.start()
        try:
            program.call([], [total], [])
            timer.join()
            time.sleep(0)
        except KeyboardInterrupt:
            interrupted += 1
        timer.join()
        ran = program.done[0] - before[0]
        assert ran in (0, 1) and total[0] - before[1] == ran * LONG
    assert interrupted == 5


@pytest.mark.parametrize(
    "ending",
    [
        "sys.exit(0)",
        "threading.Thread(target=lambda: time.sleep(0.1)).start()",
        # The compiler is at work, notes are not written yet, a launch runs in a daemon thread.
        "t.code.request([t.adder(n) for n in range(30)]); t.code.save_note('last', b'words')",
        "threading.Thread(target=long.call, args=([], [total], []), daemon=True).start()",
        # Launches while Python is being taken down.
        "run = lambda *_: program.call([a, a], [out], []); import atexit; atexit.register(run); "
        "t.last = type('Last', (), {'__del__': run})()",
    ],
)
def test_the_exit_is_clean(tmp_path_factory, ending):
    directory = tmp_path_factory.getbasetemp() / "exits"
    text = f"""
        import threading, time
        import native_programs as t
        t.threads.set_num_threads(4)
        program = t.add_program(1000, 10)
        long = t.count_program(t.LONG, t.LONG // 4, release=True)
        a, out, total = t.ones(1000), t.np.zeros(1000, "f4"), t.np.zeros(1, "i8")
        for _ in range(10):
            program.call([a, a], [out], [])
        print("done", flush=True)
        {ending}
    """
    assert check(run_python(text, directory)) == "done"
    if "save_note" in ending:
        text = "from flambeau.run.compiler import code; print(code.load_note('last'))"
        assert check(run_python(text, directory)) == "b'words'"
