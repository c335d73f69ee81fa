"""The compiler's runtime: code from text and from disk, the pool of threads, native launches."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from flambeau.run.compiler import code, elf, launch, store, threads
from flambeau.run.compiler.emit import Function, Kernel

LONG = 40_000_000


def adder(amount: float = 0.0) -> Kernel:
    """p0[i] = p1[i] + p2[i] + amount, float32."""
    f = Function("NAME", "ptr %p, i64 %begin, i64 %end, ptr %scratch")
    out, a, b = (f.pointer(i) for i in range(3))
    with f.loop("%begin", "%end") as loop:
        x, y = (f.load("float", f.element(p, "float", loop.index), 4) for p in (a, b))
        total = f.value(f"fadd float {f.value(f'fadd float {x}, {y}')}, {float(amount)}")
        f.store("float", total, f.element(out, "float", loop.index), 4)
    return threads.named(f.finish(), "add")


def sum_by_scratch() -> Kernel:
    """p0[i] = double(p1[0]) + int(p2[0]), each unit by way of the thread's scratch memory."""
    f = Function("NAME", "ptr %p, i64 %begin, i64 %end, ptr %scratch")
    out, real, whole = (f.pointer(i) for i in range(3))
    with f.loop("%begin", "%end") as loop:
        converted = f.value(f"sitofp i64 {f.load('i64', whole, 8)} to double")
        value = f.value(f"fadd double {f.load('double', real, 8)}, {converted}")
        # Far into the scratch memory, which would fault or clash if it were too small or shared.
        last = f.element("%scratch", "double", "511")
        f.line(f"store volatile double {value}, ptr {last}, align 64")
        back = f.value(f"load volatile double, ptr {last}, align 8")
        f.store("double", back, f.element(out, "double", loop.index), 8)
    return threads.named(f.finish(), "sum")


def counter() -> Kernel:
    """Adds 1 to p0[0] for every unit, slowly: memory is read and written each time."""
    f = Function("NAME", "ptr %p, i64 %begin, i64 %end, ptr %scratch")
    at = f.pointer(0)
    with f.loop("%begin", "%end"):
        f.value(f"atomicrmw add ptr {at}, i64 1 monotonic")
    return threads.named(f.finish(), "count")


def addresses(*kernels: Kernel) -> list[int]:
    found = code.request(kernels).wait()
    return [found[k.name] for k in kernels]


def add_program(units: int, chunk: int, steps: int = 1, release: bool = False) -> launch.Launch:
    """Two inputs in slots 0 and 1; slot 2 is the out of the last of ``steps`` running sums."""
    (add,) = addresses(adder())
    chain = [launch.Step(add, (2, 0 if i == 0 else 2, 1), units, chunk) for i in range(steps)]
    return launch.assemble(chain, np.zeros(3, np.int64), [0, 1], [2], release=release)


def add_numbers(units: int = 4, chunk: int = 4, release: bool = False) -> launch.Launch:
    """The sum of a float and an int into every element of the out."""
    (total,) = addresses(sum_by_scratch())
    threads.ensure_scratch(4096)
    step = launch.Step(total, (0, 1, 2), units, chunk)
    numbers = [(0, launch.FLOAT, 1), (1, launch.INT, 2)]
    return launch.assemble([step], np.zeros(3, np.int64), [], [0], numbers, release)


def count_program(units: int, chunk: int, release: bool = False) -> launch.Launch:
    (count,) = addresses(counter())
    step = launch.Step(count, (0,), units, chunk)
    return launch.assemble([step], np.zeros(1, np.int64), [], [0], release=release)


@pytest.fixture
def restored_threads():
    before = threads.get_num_threads()
    yield
    threads.set_num_threads(before)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache directory."""
    monkeypatch.setenv("FLAMBEAU_CACHE", str(tmp_path / "cache"))
    store.location.cache_clear()
    yield tmp_path / "cache"
    store.location.cache_clear()


def run_python(text: str, directory: Path, **environment: str) -> subprocess.CompletedProcess:
    """Runs ``text`` in a process of its own, with the helpers above at hand."""
    head = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", head + textwrap.dedent(text)],
        env={**os.environ, "FLAMBEAU_CACHE": str(directory), **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def check(done: subprocess.CompletedProcess) -> str:
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.strip()


# Code


def test_importing_flambeau_imports_no_llvmlite(tmp_path):
    text = """
        import flambeau, flambeau.run.compiler.launch, threading
        print([m for m in sys.modules if "llvmlite" in m], threading.active_count())
    """
    assert check(run_python(text, tmp_path)) == "[] 1"


def test_a_request_gives_addresses_and_knows_them_from_then_on(cache):
    kernel = adder(1.25)
    ticket = code.request([kernel, kernel])
    found = ticket.wait()
    assert list(found) == [kernel.name] and found[kernel.name]
    assert ticket.done() and ticket.wait() == found
    again = code.request([kernel])
    assert again.done() and again.wait() == found
    # A name stands for its text, which is not read again.
    assert code.find([kernel.name, "unheard"]).wait() == found


def test_an_error_is_its_tickets_alone(cache):
    good, bad = adder(2.25), Kernel("bad", "define void @bad() {\n  ret i32 1\n}")
    ticket = code.request([good, bad])
    for _ in range(2):
        with pytest.raises(code.CompilerError, match=r"(?s)bad: .*type 'void'"):
            ticket.wait()
    assert ticket.done()
    # The other kernel was compiled, and the worker goes on.
    assert code.request([good]).done()
    assert code.request([adder(2.5)]).wait()


def test_a_module_without_the_name_it_was_asked_for_is_an_error(cache):
    with pytest.raises(code.CompilerError, match="other"):
        code.request([Kernel("other", "define void @another() {\n  ret void\n}")]).wait()


def test_texts_may_declare_the_same():
    one = "declare float @llvm.sqrt.f32(float)\n@table = private constant [1 x i8] zeroinitializer"
    assert code.merged([one + "\nA", one + "\nB"]) == one + "\nA\nB\n"


def test_the_target_is_the_hosts(cache):
    from flambeau.run.compiler.target import host

    assert code.target() == host()


def test_notes(cache):
    assert code.load_note("spec") is None
    code.save_note("spec", b"\0kernels")
    assert code.load_note("spec") == b"\0kernels"
    code.request([adder(3.5)]).wait()  # the worker works in order
    store.location.cache_clear()
    assert store.load_note("spec") == code.load_note("spec") == b"\0kernels"


COMPILES = """
    import test_compiler_runtime as t
    kernels = [t.adder(i) for i in range({count})]
    t.addresses(*kernels)
    program = t.add_program(8, 4)
    out = t.np.zeros(8, "f4")
    program.call([t.np.ones(8, "f4"), t.np.ones(8, "f4")], [out], [])
    assert (out == 2).all()
    print(t.code.stats.compiled, t.code.stats.loaded_from_disk)
"""


def test_a_second_process_compiles_nothing(tmp_path):
    text = COMPILES.format(count=6)
    compiled, loaded = map(int, check(run_python(text, tmp_path)).split())
    assert compiled >= 6 and loaded == 0
    text += "    assert not t.elf.available() or 'llvmlite' not in sys.modules"
    assert check(run_python(text, tmp_path)) == f"0 {compiled}"


@pytest.mark.skipif(not elf.available(), reason="LLVM loads all objects here")
def test_both_linkers_give_the_same(cache):
    """A kernel with constants in memory, and one that calls a function of the process."""
    steps = ", ".join(f"float {i}.0" for i in range(16))
    text = f"""
        declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
        define void @NAME(ptr %p, i64 %begin, i64 %end, ptr %scratch) nounwind {{
          %out = load ptr, ptr %p
          call void @llvm.memset.p0.i64(ptr %out, i8 1, i64 %end, i1 false)
          %first = load <16 x float>, ptr %out, align 4
          %last = fadd <16 x float> %first, <{steps}>
          store <16 x float> %last, ptr %out, align 4
          ret void
        }}"""
    kernel = threads.named(textwrap.dedent(text), "both")
    image = code._worker.submit(code.Ticket(lambda: code._llvm().emit(kernel.text))).wait()
    linked = code._worker.submit(code.Ticket(lambda: code._llvm().link(image, [kernel.name])))
    results = []
    for address in (linked.wait()[kernel.name], elf.load(image)[kernel.name]):
        out = np.zeros(1000, np.float32)
        step = launch.Step(address, (0,), out.nbytes, out.nbytes)
        program = launch.assemble([step], np.zeros(1, np.int64), [], [0])
        assert program.call([], [out], []) == 0
        results.append(out)
    assert (results[0] == results[1]).all() and results[0][15] == 15 + results[0][999]


@pytest.mark.skipif(not elf.available(), reason="LLVM loads all objects here")
@pytest.mark.parametrize(
    "text",
    [
        "@kept = global i64 3\ndefine ptr @f() {\n  ret ptr @kept\n}",
        "@kept = thread_local global i64 3\ndefine i64 @f() {\n  %x = load i64, ptr @kept\n"
        "  ret i64 %x\n}",
        "declare void @nobody_has_this()\ndefine void @f() {\n  call void @nobody_has_this()\n"
        "  ret void\n}",
        None,
    ],
)
def test_objects_of_other_kinds_are_left_to_llvm(text):
    image = b"\x7fELF"
    if text is not None:
        image = code._worker.submit(code.Ticket(lambda: code._llvm().emit(text))).wait()
    with pytest.raises(elf.Unsupported):
        elf.load(image)


def test_damaged_files_are_made_anew(tmp_path):
    text = COMPILES.format(count=3)
    first = check(run_python(text, tmp_path))
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert files
    for number, path in enumerate(sorted(files)):
        content = path.read_bytes()
        half = len(content) // 2
        damaged = [
            content[:half],
            b"",
            content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :],
        ]
        path.write_bytes(damaged[number % 3])
    assert check(run_python(text, tmp_path)) == first
    assert check(run_python(text, tmp_path)).startswith("0 ")


def test_an_object_that_is_not_one_is_made_anew(cache):
    kernel = adder(4.5)
    made_by = code._worker.submit(code.Ticket(lambda: code._llvm().made_by)).wait()
    header = f'{{"made_by": "{made_by}", "names": ["{kernel.name}"]}}\n'
    store.save("object junk", header.encode() + b"no object file")
    store.save(f"kernel {kernel.name}", b"junk")
    assert code.request([kernel]).wait()[kernel.name]


def test_processes_share_the_directory_without_locks(tmp_path):
    text = COMPILES.format(count=4)
    head = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
    both = [
        subprocess.Popen(
            [sys.executable, "-c", head + textwrap.dedent(text)],
            env={**os.environ, "FLAMBEAU_CACHE": str(tmp_path)},
            stdout=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    for process in both:
        process.communicate(timeout=120)
        assert process.returncode == 0
    assert check(run_python(text, tmp_path)).startswith("0 ")
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_directory_that_cannot_be_used_only_means_no_cache(tmp_path):
    (tmp_path / "file").write_text("")
    text = COMPILES.format(count=2)
    for _ in range(2):
        assert check(run_python(text, tmp_path / "file")).endswith(" 0")


def test_a_directory_that_others_may_write_into_is_not_trusted(cache):
    folder = store.location()
    assert folder is not None
    folder.chmod(0o777)
    store.location.cache_clear()
    assert store.location() is None
    store.save("key", b"data")
    assert store.load("key") is None


def test_the_oldest_files_go_first(cache):
    for age in range(10):
        store.save(f"key {age}", bytes(1000))
        when = time.time() - 1000 * age
        os.utime(store.location() / store.name_of(f"key {age}"), (when, when))
    abandoned = store.location() / "x.tmp"
    abandoned.write_bytes(b"half")
    os.utime(abandoned, (0, 0))
    store.shrink(cache, limit=20000)
    assert all(store.load(f"key {age}") for age in range(10)) and not abandoned.exists()
    store.shrink(cache, limit=8000)
    kept = [age for age in range(10) if store.load(f"key {age}")]
    assert kept == list(range(len(kept))) and 3 <= len(kept) < 8


# Launching


def ones(size: int) -> np.ndarray:
    return np.ones(size, np.float32)


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
        ([a, a], [out], [], []),
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


# Threads


@pytest.mark.parametrize("release", [False, True])
@pytest.mark.parametrize("nap", [0, 2e-3])
def test_threads_change_no_result(restored_threads, release, nap):
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 1003), np.float32)
    program = add_program(1003, 10, steps=3, release=release)
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
    futex = threads.root("futex")
    threads.set_root("futex", 0)
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
        threads.set_root("futex", futex)


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


def test_an_interrupted_launch_says_whether_it_ran():
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
        "t.threading.Thread(target=lambda: t.time.sleep(0.1)).start()",
        # The compiler is at work, notes are not written yet, a launch runs in a daemon thread.
        "t.code.request([t.adder(n) for n in range(30)]); t.code.save_note('last', b'words')",
        "t.threading.Thread(target=long.call, args=([], [total], []), daemon=True).start()",
        # Launches while Python is being taken down.
        "run = lambda *_: program.call([a, a], [out], []); import atexit; atexit.register(run); "
        "t.last = type('Last', (), {'__del__': run})()",
    ],
)
def test_the_exit_is_clean(tmp_path_factory, ending):
    directory = tmp_path_factory.getbasetemp() / "exits"
    text = f"""
        import test_compiler_runtime as t
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
