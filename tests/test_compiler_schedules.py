"""Plans kept on disk: found again by what they depend on, and by nothing less."""

from __future__ import annotations

import operator
import os
import subprocess
import sys
import textwrap
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from compiled import needs_native
from flambeau import dtypes
from flambeau.ir.graph import Aval, Const, Entry
from flambeau.ir.primitive import PRIMITIVES as P
from flambeau.run.compiler import code, launch, store
from flambeau.run.compiler import compile as compiling
from flambeau.run.compiler.program import Compiled
from flambeau.run.compiler.schedule import Unkept, function_name, packed, unpacked
from flambeau.run.compiler.schedule_key import key_of, plain
from flambeau.run.compiler.scheduling import scheduled
from native_graphs import Built
from native_programs import (
    cache,  # noqa: F401  (a fixture)
    check,
    not_the_users_cache,  # noqa: F401  (a fixture that is always on)
    run_python,
    written,
)

RNG = np.random.default_rng(5)
X = RNG.standard_normal((6, 9)).astype(np.float32)
W = RNG.standard_normal((9, 4)).astype(np.float32)
PLACES = np.array([3, 0, 2])


def loss(p, x, t):
    value = P["nll"](x, t, reduction="mean", ignore=-100)
    return p - value, value


BUILT = {
    "maps and a reduction": Built(
        lambda x: (P["exp"](x), P["sum"](x, dims=(1,), keepdim=False)), X
    ),
    "a product": Built(lambda x, w: P["relu"](P["matmul"](x, w)), X, W),
    "run-time numbers": Built(lambda x, k: P["exp"](x) * (k * 2.0), X, numbers=(1.5,)),
    "a table": Built(lambda w, i: P["embedding"](w, i, padding=-1), W, PLACES),
    "fixed arrays": Built(
        lambda x: (
            x * P["iota"](shape=(6, 9), dim=1, dtype=dtypes.float32)
            + P["cast"](P["iota"](shape=(9,), dim=0, dtype=dtypes.bfloat16), dtype=dtypes.float32)
        ),
        X,
    ),
    "a fault, and memory of an input": Built(loss, X, X, np.array([0, 1, 2, 3, 4, 5])),
}


def key(built: Built, **other) -> str | None:
    given = {
        "entries": built.entries,
        "outs": built.outs,
        "inputs": len(built.inputs),
        "numbers": built.numbers,
        "storages": (),
        "passed": {},
        "layouts": {},
        "target": code.target(),
    }
    return key_of(**given | other)


def bits(outs) -> list[bytes]:
    return [np.asarray(a).tobytes() for a in outs]


@pytest.mark.parametrize("name", BUILT)
def test_what_was_written_is_read_again(name):
    built = BUILT[name]
    storages = ((0, 0),) if "memory" in name else ()
    plan = built.draft(storages)
    made = scheduled(plan, len(built.inputs), storages)
    again = unpacked(packed(made, built.numbers), built.numbers)
    for field in fields(made):
        a, b = getattr(made, field.name), getattr(again, field.name)
        if field.name == "constants":
            assert {k: (v.dtype, v.tolist()) for k, v in a.items()} == {
                k: (v.dtype, v.tolist()) for k, v in b.items()
            }
            assert all(v.flags.aligned for v in b.values())
        else:
            assert a == b, field.name
    found = code.request([*launch.kernels(), *plan.kernels.values()]).wait()
    outs = [
        bits(Compiled(s, found)([a.copy() for a in built.inputs], list(built.numbers)))
        for s in (made, again)
    ]
    assert outs[0] == outs[1]


def test_a_call_of_a_reference_is_not_written():
    built = Built(lambda x: P["svd"](x, full_matrices=False)[1] * 2.0, X)
    plan = built.draft()
    assert plan.low.host_reasons
    with pytest.raises(Unkept, match="reference"):
        packed(scheduled(plan, 1, ()), [])


def test_what_numbers_come_to_is_looked_at_again():
    """``2 ** -1`` is no integer: a plan for ``2 ** 1`` is not for it."""
    built = Built(lambda x, n: x * P["number"](2, n, op=operator.pow), X, numbers=(3,))
    data = packed(scheduled(built.draft(), 1, ()), [3])
    assert unpacked(data, [4]) is not None
    assert unpacked(data, [-1]) is None


def test_a_key_says_all_that_a_plan_depends_on():
    built = BUILT["a product"]
    first = key(built)
    assert first == key(Built(lambda x, w: P["relu"](P["matmul"](x, w)), X, W))
    others = [
        key(Built(lambda x, w: P["tanh"](P["matmul"](x, w)), X, W)),
        key(Built(lambda x, w: P["relu"](P["matmul"](x, w)), X[:5], W)),
        key(Built(lambda x, w: P["relu"](P["matmul"](x, w)), X.astype("d"), W.astype("d"))),
        key(built, outs=[0]),
        key(built, inputs=3),
        key(built, numbers=[1]),
        key(built, numbers=[1.0]),
        key(built, storages=((0, 0),)),
        key(built, passed={-1: Aval((6, 9), dtypes.float32)}),
        key(built, layouts={-1: (1, 6)}),
        key(built, target="another processor"),
    ]
    assert None not in others
    assert len({first, *others}) == 1 + len(others)
    # Of run-time numbers it is the types.
    assert key(built, numbers=[2.0]) == key(built, numbers=[1.0])


@pytest.mark.parametrize(
    "values",
    [
        (1, 1.0, True, np.float32(1), np.float64(1), np.ones(1), np.ones(1, np.float32), "1", (1,)),
        (0.0, -0.0, float("nan"), 0, False, None, np.float32(-0.0), np.float32(0)),
        (
            np.arange(4),
            np.arange(4).reshape(2, 2),
            np.arange(4)[::-1],
            np.arange(4, dtype=np.int32),
        ),
        (operator.add, operator.sub, np.add, dtypes.float32, np.dtype("f"), dtypes.bfloat16),
        ((1, 2), (12,), ((1,), 2), "(1, 2)", {1: 2}, slice(1, 2)),
    ],
)
def test_different_values_are_told_apart(values):
    found = [repr(plain(v)) for v in values]
    assert len(set(found)) == len(found)
    assert found == [repr(plain(v)) for v in values]


def test_what_no_text_stands_for_has_no_key():
    def local(x):
        return x

    for value in (local, lambda x: x, object(), np.array([object()])):
        with pytest.raises(Unkept):
            plain(value)
    assert function_name(operator.add) == "_operator:add"
    aval = Aval((), None)
    ours = Entry(P["number"], (Const(1),), (0,), {"op": operator.neg}, (aval,), (aval,), False)
    theirs = Entry(P["number"], (Const(1),), (0,), {"op": local}, (aval,), (aval,), False)
    assert key(BUILT["a product"], entries=[ours]) is not None
    assert key(BUILT["a product"], entries=[theirs]) is None


TRAINS = """
    import flambeau as torch
    torch.manual_seed(3)
    model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 3))
    optimizer = torch.optim.Adam(model.parameters())
    x, y = torch.randn(20, 5), torch.randint(3, (20,))
    losses = []
    for i in range(12):
        start, stop = (0, 8) if i % 4 else (8, 14)
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x[start:stop]), y[start:stop])
        loss.backward()
        optimizer.step()
        losses.append(loss.item().hex())
    from flambeau.run.compiler.code import stats
    print(*losses)
    print("flambeau.run.compiler.draft" in sys.modules, stats.compiled > 0)
"""


def trained(directory: Path, **environment: str) -> tuple[list[str], str]:
    """The losses, and whether it planned and compiled."""
    losses, last = check(run_python(TRAINS, directory, **environment)).splitlines()[-2:]
    return losses.split(), last


def schedules(directory: Path) -> list[Path]:
    """The files that hold schedules: JSON begins behind magic and digest."""
    start = len(store.MAGIC) + store.DIGEST
    files = [p for p in directory.rglob("*") if p.is_file()]
    return [p for p in files if p.read_bytes()[start:].startswith(b'{"inputs"')]


@needs_native
def test_a_second_process_does_not_plan(tmp_path):
    first, did = trained(tmp_path)
    assert did == "True True"
    assert schedules(tmp_path)
    assert trained(tmp_path) == (first, "False False")
    # Names of sets and strings have another order there.
    assert trained(tmp_path, PYTHONHASHSEED="77") == (first, "False False")


@needs_native
def test_damaged_schedules_are_made_anew(tmp_path):
    first, _ = trained(tmp_path)
    found = schedules(tmp_path)
    for number, path in enumerate(found):
        content = path.read_bytes()
        path.write_bytes(
            (content[:-9], b"", content.replace(b"units", b"units ", 1)[:-1])[number % 3]
        )
    assert trained(tmp_path)[0] == first
    assert trained(tmp_path) == (first, "False False")


@needs_native
def test_schedules_whose_kernels_are_gone_are_made_anew(tmp_path):
    first, _ = trained(tmp_path)
    kept = set(schedules(tmp_path))
    for path in tmp_path.rglob("*"):
        if path.is_file() and path not in kept:
            path.unlink()
    assert trained(tmp_path) == (first, "True True")
    assert trained(tmp_path) == (first, "False False")


@needs_native
def test_processes_share_schedules_without_locks(tmp_path):
    head = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
    several = [
        subprocess.Popen(
            [sys.executable, "-c", head + textwrap.dedent(TRAINS)],
            env={**os.environ, "FLAMBEAU_CACHE": str(tmp_path)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    outputs = [process.communicate(timeout=120)[0].splitlines() for process in several]
    assert all(process.returncode == 0 for process in several)
    assert len({losses for losses, _ in outputs}) == 1
    assert trained(tmp_path)[1] == "False False"


def compile_now(built: Built) -> Compiled:
    def work():
        count = len(built.inputs)
        return compiling.compiled(built.entries, built.outs, count, built.numbers, (), {}, {})

    made = code.defer(work).wait()
    written()
    return made()


@pytest.fixture
def planned(monkeypatch):
    """Counts plans."""
    from flambeau.run.compiler import planning

    count = []
    original = planning.drafted
    monkeypatch.setattr(planning, "drafted", lambda *a: count.append(1) or original(*a))
    return count


def test_another_state_of_the_source_finds_nothing(cache, planned, monkeypatch):
    built = BUILT["maps and a reduction"]
    expected = bits(compile_now(built)([X], []))
    assert bits(compile_now(built)([X], [])) == expected
    assert len(planned) == 1
    monkeypatch.setattr(store, "_sources", lambda: "later")
    assert bits(compile_now(built)([X], [])) == expected
    assert len(planned) == 2


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]\n", b"no json\n", b'{"inputs":1}\n', b"\xff\xfe", None]
)
def test_sound_files_of_something_else_are_not_taken(cache, planned, data):
    built = BUILT["run-time numbers"]
    expected = bits(compile_now(built)([X], [1.5]))
    (path,) = schedules(cache)
    if data is None:
        start = len(store.MAGIC) + store.DIGEST
        data = path.read_bytes()[start:].replace(b'"prelude":[["', b'"prelude":[["no.', 1)
    store.save_note(f"schedule {key(built)}", data)
    assert compiling.kept_schedule(key(built), [1.5]) is None
    assert bits(compile_now(built)([X], [1.5])) == expected
    assert len(planned) == 2
    # And written over.
    assert compiling.kept_schedule(key(built), [1.5]) is not None


def test_what_planning_tells_is_told_every_time(cache, planned, monkeypatch, capsys):
    monkeypatch.setattr(compiling, "LOG", frozenset({"program"}))
    for _ in range(2):
        compile_now(BUILT["a product"])
        assert "matmul" in capsys.readouterr().err
    assert len(planned) == 2


def test_standing_kernels_are_written_once(cache):
    made = []

    def make():
        made.append(1)
        return launch.kernels()

    first = code.standing("some", make).wait()
    written()
    assert code.standing("some", make).wait() == first
    assert len(made) == 1
    store.save_note("some", b"unheard_of")
    assert code.standing("some", make).wait() == first
    assert len(made) == 2
