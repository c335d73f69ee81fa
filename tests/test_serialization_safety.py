"""Loading a file runs nothing, damaged files are refused, and a failing disk loses nothing."""

from __future__ import annotations

import collections
import errno
import io
import os
import pickle
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import flambeau
from flambeau import serialization
from flambeau.serialization import archive, files
from in_memory import FORMATS, same, values, written, written_by_torch

# What a file may not do


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple:
        return self.function, self.arguments


@pytest.mark.parametrize("zipped", FORMATS)
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_command_is_not_run(tmp_path, zipped, protocol):
    mark = tmp_path / "mark"
    obj = {"w": torch.ones(2), "x": Call(os.system, f"touch {mark}")}
    options = {"_use_new_zipfile_serialization": zipped, "pickle_protocol": protocol}
    with pytest.raises(pickle.UnpicklingError, match=rf"{os.name}\.system") as caught:
        flambeau.load(written_by_torch(obj, **options))
    assert isinstance(caught.value, serialization.UnsafeGlobalError)
    assert not mark.exists()
    flambeau.load(written_by_torch(obj, **options), weights_only=False)
    assert mark.exists()


@pytest.mark.parametrize(
    "function",
    [eval, exec, getattr, __import__, print, subprocess.Popen, np.load, frozenset, pickle.loads],
    ids=lambda f: f.__qualname__,
)
def test_other_functions_are_refused_by_name(function):
    with pytest.raises(serialization.UnsafeGlobalError, match=function.__qualname__):
        flambeau.load(written_by_torch(Call(function, "1")))


def archive_of(pickled: bytes) -> io.BytesIO:
    stream = io.BytesIO()
    writer = archive.ArchiveWriter(stream, "archive")
    writer.add("data.pkl", pickled)
    writer.finish()
    stream.seek(0)
    return stream


SLOT_STATE = b"N}X\x01\x00\x00\x00xK\x01s\x86"  # (None, {"x": 1}): sets attributes


@pytest.mark.parametrize(
    "pickled",
    [
        b"ctorch\nTensor\n" + SLOT_STATE + b"b.",
        b"ctorch.nn.parameter\nParameter\n" + SLOT_STATE + b"b.",
        b"ctorch\nfloat32\n" + SLOT_STATE + b"b.",
        b"ctorch._utils\n_rebuild_tensor_v2\n" + SLOT_STATE + b"b.",
        b"ccollections\nOrderedDict\n" + SLOT_STATE + b"b.",
        b"ccollections\nOrderedDict\n)R" + SLOT_STATE + b"b.",
        b"ctorch\nTensor\n)R.",
        b"ctorch\nTensor\n)\x81.",
        b"\x80\x04ctorch\nTensor\n)}\x92.",
        b"(ctorch\nTensor\no.",
        b"(itorch\nTensor\n.",
        b"cos\nsystem\n.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
        b"(S'true'\nios\nsystem\n.",
        b"ccollections\nOrderedDict.__init__.__globals__\n.",
        b"\x80\x04\x8c\x0bcollections\x8c\x14OrderedDict.__init__\x93.",
        b"cflambeau.serialization\nload\n.",
        b"ctorch.serialization\nload\n.",
        b"ctorch\nsave\n.",
        b"\x82\x01.",
        b"c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R.",
    ],
)
def test_pickles_made_by_hand_are_refused(pickled):
    with pytest.raises((pickle.UnpicklingError, ValueError)) as caught:
        flambeau.load(archive_of(pickled))
    assert isinstance(caught.value, pickle.UnpicklingError) or "extension code" in str(caught.value)
    assert not hasattr(flambeau.Tensor, "x") and not hasattr(flambeau.float32, "x")


def tensor_pickle(size, stride, offset=0, count=2) -> io.BytesIO:
    """A file that says a tensor reaches wherever these numbers say."""
    numbers = lambda *n: pickle.dumps(n, protocol=2)[2:-1]
    pid = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
    number = lambda n: pickle.dumps(n, protocol=2)[2:-1]
    pickled = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + pid + number(count) + b"tQ"
    pickled += number(offset) + numbers(*size) + numbers(*stride) + b"\x89NtR."
    stream = io.BytesIO()
    writer = archive.ArchiveWriter(stream, "archive")
    writer.add("data.pkl", pickled)
    writer.add("data/0", b"\x00" * 8)
    writer.finish()
    stream.seek(0)
    return stream


@pytest.mark.parametrize(
    "numbers",
    [
        {"size": (3,), "stride": (1,)},
        {"size": (2,), "stride": (2,)},
        {"size": (2,), "stride": (-1,), "offset": 1},
        {"size": (2,), "stride": (1,), "offset": 1},
        {"size": (1,), "stride": (1,), "offset": -1},
        {"size": (-1,), "stride": (1,)},
        {"size": (2, 1), "stride": (1,)},
        {"size": (2**62,), "stride": (2**62,)},
        {"size": (2.0,), "stride": (1,)},
        {"size": (2,), "stride": (1,), "count": 2**40},
        {"size": (2,), "stride": (1,), "count": -1},
    ],
    ids=str,
)
def test_no_tensor_reaches_outside_its_storage(numbers):
    with pytest.raises((RuntimeError, pickle.UnpicklingError)):
        flambeau.load(tensor_pickle(**numbers))


def test_within_its_storage():
    assert values(flambeau.load(tensor_pickle((2,), (1,)))).tolist() == [0, 0]
    assert values(flambeau.load(tensor_pickle((0, 5), (9, 9), 7))).shape == (0, 5)


def test_an_attribute_cannot_replace_a_method():
    theirs = torch.ones(2)
    theirs.shape_ = theirs.add_ = 3
    with pytest.raises(pickle.UnpicklingError, match="'add_'"):
        flambeau.load(written_by_torch(theirs))


# What the user allows


class Point:
    def __init__(self, x):
        self.x = x


@pytest.fixture
def _no_globals():
    serialization.clear_safe_globals()
    yield
    serialization.clear_safe_globals()


@pytest.mark.usefixtures("_no_globals")
def test_safe_globals():
    point = Point(flambeau.ones(2))
    with pytest.raises(serialization.UnsafeGlobalError, match=r"add_safe_globals\(\[.*Point\]\)"):
        flambeau.load(written(point))
    with serialization.safe_globals([Point]):
        assert serialization.get_safe_globals() == [Point]
        assert same(flambeau.load(written(point)).x, torch.ones(2))
    assert serialization.get_safe_globals() == []
    serialization.add_safe_globals([(Point, f"{__name__}.Point")])
    assert same(flambeau.load(written(point)).x, torch.ones(2))
    serialization.clear_safe_globals()
    with pytest.raises(serialization.UnsafeGlobalError):
        flambeau.load(written(point))


@pytest.mark.usefixtures("_no_globals")
def test_a_blocked_module_stays_blocked():
    with (
        serialization.safe_globals([os.system]),
        pytest.raises(serialization.UnsafeGlobalError, match="blocked"),
    ):
        flambeau.load(written_by_torch(Call(os.system, "true")))


def test_numpy_checkpoints_need_to_be_allowed():
    data = {"x": np.arange(3.0)}
    with pytest.raises(serialization.UnsafeGlobalError, match="_reconstruct"):
        flambeau.load(written(data))
    again = flambeau.load(written(data), weights_only=False)
    assert np.array_equal(again["x"], data["x"])


def test_whole_objects():
    point = flambeau.load(written(Point([flambeau.ones(2), flambeau.float16])), weights_only=False)
    assert same(point.x[0], torch.ones(2)) and point.x[1] is flambeau.float16
    theirs = flambeau.load(written_by_torch(Point(torch.ones(2))), weights_only=False)
    assert isinstance(theirs.x, flambeau.Tensor)


def test_a_name_that_flambeau_lacks():
    class_of_torch = torch.ao.quantization.QConfig
    with pytest.raises(pickle.UnpicklingError, match=r"torch\.ao\.quantization\.qconfig\.QConfig"):
        flambeau.load(written_by_torch(class_of_torch(int, int)), weights_only=False)


def test_pickle_module():
    buffer = written(flambeau.ones(1), pickle_module=pickle)
    assert same(flambeau.load(buffer, pickle_module=pickle), torch.ones(1))
    with pytest.raises(RuntimeError, match="explicit pickle_module"):
        flambeau.load(buffer, pickle_module=pickle, weights_only=True)
    with pytest.raises(TypeError, match="written in Python"):
        flambeau.save(1, io.BytesIO(), pickle_module=os)


# Damaged files


@pytest.mark.parametrize("zipped", FORMATS)
def test_a_file_cut_anywhere(zipped):
    whole = written(
        {"a": flambeau.ones(20), "b": [1, "two"]}, _use_new_zipfile_serialization=zipped
    ).getvalue()
    for length in range(0, len(whole), 1 if not zipped else 7):
        with pytest.raises(RuntimeError):
            flambeau.load(io.BytesIO(whole[:length]))
    with pytest.raises(serialization.TruncatedFileError, match="cut short"):
        flambeau.load(io.BytesIO(whole[: len(whole) // 2]))


@settings(max_examples=300, deadline=None)
@given(st.data(), st.booleans())
def test_any_damage_is_an_error_or_nothing(data, zipped):
    obj = {"a": flambeau.ones(3), "b": [1, "two", b"3"], "c": collections.OrderedDict(d=1)}
    whole = bytearray(written(obj, _use_new_zipfile_serialization=zipped).getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        flambeau.load(io.BytesIO(bytes(whole)))
    except (RuntimeError, pickle.UnpicklingError, ValueError, TypeError, AttributeError,
            MemoryError, OverflowError, LookupError, NotImplementedError):  # fmt: skip
        pass


@pytest.mark.parametrize("junk", [b"hello", b"PK\x03\x04", b"PK", b"\x00" * 100, b"\x89HDF"])
def test_other_files(junk):
    with pytest.raises(RuntimeError):
        flambeau.load(io.BytesIO(junk))


def test_an_empty_file_is_also_an_eof():
    with pytest.raises(EOFError):
        flambeau.load(io.BytesIO())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_is_named():
    class Net(torch.nn.Module):
        def forward(self, x):
            return x + 1

    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(Net(), torch.ones(1)), buffer)
    buffer.seek(0)
    with pytest.raises(RuntimeError, match="TorchScript"):
        flambeau.load(buffer)


def test_what_is_no_file():
    with pytest.raises(AttributeError, match="'write' attribute"):
        flambeau.save(1, 3)
    with pytest.raises(AttributeError, match="seekable"):
        flambeau.load(3)
    with pytest.raises(FileNotFoundError):
        flambeau.load("/nowhere/x.pt")
    with pytest.raises(RuntimeError, match=r"Parent directory /nowhere does not exist\."):
        flambeau.save(1, "/nowhere/x.pt")
    reader, writer = os.pipe()
    with open(reader, "rb") as stream, pytest.raises(io.UnsupportedOperation, match="seekable"):
        flambeau.load(stream)
    os.close(writer)


# A failing disk


def full_disk(*_: object) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("zipped", FORMATS)
@pytest.mark.parametrize("existing", [True, False])
@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch, step, existing, zipped):
    path = tmp_path / "w.pt"
    if existing:
        flambeau.save(flambeau.ones(2), path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    if step == "write":
        count = iter(range(100))
        write = archive.write_all

        def fails_later(stream, data):
            return write(stream, data) if next(count) < 4 else full_disk()

        monkeypatch.setattr(archive, "write_all", fails_later)
        monkeypatch.setattr(serialization.legacy, "write_all", fails_later)
    else:
        monkeypatch.setattr(files.os, step, full_disk)
    with pytest.raises(OSError, match="No space left"):
        flambeau.save(flambeau.ones(1000), path, _use_new_zipfile_serialization=zipped)
    monkeypatch.undo()
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has this device")
def test_a_device_that_is_full():
    with pytest.raises(OSError, match="No space left"):
        flambeau.save(flambeau.ones(100_000), "/dev/full")
    assert os.path.exists("/dev/full")


@pytest.mark.skipif(os.name != "posix", reason="limits of a process are POSIX")
def test_a_real_limit_on_the_size_of_files(tmp_path):
    """The operating system itself refuses the write, in another process."""
    path = tmp_path / "w.pt"
    flambeau.save({"old": 1}, path)
    before = path.read_bytes()
    script = textwrap.dedent(f"""
        import resource, signal
        import numpy as np
        from flambeau.serialization.files import replacing
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        with replacing({str(path)!r}) as stream:
            stream.write(bytes(1_000_000))
    """)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1 and "File too large" in done.stderr
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["w.pt"]


def test_an_object_that_cannot_be_pickled_leaves_no_file(tmp_path):
    path = tmp_path / "w.pt"
    flambeau.save(1, path)
    with pytest.raises((pickle.PicklingError, AttributeError)):
        flambeau.save(lambda: 0, path)
    with pytest.raises((pickle.PicklingError, AttributeError)):
        flambeau.save(lambda: 0, tmp_path / "new.pt")
    assert flambeau.load(path) == 1 and [p.name for p in tmp_path.iterdir()] == ["w.pt"]


def test_an_interrupt_leaves_the_old_file(tmp_path):
    path = tmp_path / "w.pt"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), files.replacing(str(path)) as stream:
        stream.write(b"new")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["w.pt"]


@pytest.mark.skipif(os.name != "posix", reason="modes and links are POSIX")
def test_modes_and_links_are_kept(tmp_path):
    path, link = tmp_path / "w.pt", tmp_path / "link.pt"
    flambeau.save(1, path)
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    assert path.stat().st_mode == plain.stat().st_mode
    path.chmod(0o640)
    link.symlink_to(path)
    flambeau.save(2, link)
    assert link.is_symlink() and flambeau.load(path) == 2
    assert path.stat().st_mode & 0o777 == 0o640
