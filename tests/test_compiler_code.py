"""The compiler's runtime: code from text, from disk, from one process to the next."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from flambeau.run.compiler import code, elf, launch, store, threads_kernels
from flambeau.run.compiler.emit import Kernel
from native_programs import (
    adder,
    cache,  # noqa: F401  (a fixture)
    check,
    not_the_users_cache,  # noqa: F401  (a fixture that is always on)
    run_python,
)


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


def test_deferred_work_may_ask_for_kernels_itself(cache):
    kernel = adder(1.75)
    assert code.defer(lambda: code.request([kernel]).wait()).wait() == code.addresses([kernel])
    with pytest.raises(ZeroDivisionError):
        code.defer(lambda: 1 // 0).wait()


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
    store.location.cache_clear()
    # Notes are written when nothing is to be compiled.
    deadline = time.monotonic() + 30
    while store.load_note("spec") is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert store.load_note("spec") == code.load_note("spec") == b"\0kernels"


COMPILES = """
    import native_programs as t
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
    text += "    assert not t.code.elf.available() or 'llvmlite' not in sys.modules"
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
    kernel = threads_kernels.named(textwrap.dedent(text), "both")
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


def test_where_the_cache_lies(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("FLAMBEAU_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert store._root() == tmp_path / ".cache" / "flambeau"
    monkeypatch.setenv("XDG_CACHE_HOME", "/shared")
    assert store._root() == Path("/shared/flambeau")
    monkeypatch.setenv("FLAMBEAU_CACHE", "~/own")
    assert store._root() == tmp_path / "own"


def test_the_oldest_files_go_first(cache):
    for age in range(10):
        store.save(f"key {age}", bytes(1000))
        when = time.time() - 1000 * age
        os.utime(store.location() / store.name_of(f"key {age}"), (when, when))
    abandoned = store.location() / f"{store.name_of('key')}.1.2.abcd.tmp"
    # The user's own, where FLAMBEAU_CACHE is no directory of its own.
    others = [cache / "photos" / "summer", cache / "photos" / "draft.tmp"]
    others[0].parent.mkdir()
    for path in (abandoned, *others):
        path.write_bytes(bytes(9000))
        os.utime(path, (0, 0))
    store.shrink(cache, limit=20000)
    assert all(store.load(f"key {age}") for age in range(10)) and not abandoned.exists()
    store.shrink(cache, limit=8000)
    kept = [age for age in range(10) if store.load(f"key {age}")]
    assert kept == list(range(len(kept))) and 3 <= len(kept) < 8
    assert all(path.exists() for path in others)
