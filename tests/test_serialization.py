"""Files go both ways between Flambeau and PyTorch."""

from __future__ import annotations

import collections
import io
import pickle
import pickletools
import struct
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import flambeau
from flambeau import dtypes, serialization
from flambeau.serialization import archive, bridge
from in_memory import FORMATS, same, values, written, written_by_torch

NAMES = sorted(dtypes.DTYPES)


def sample(name: str, shape: tuple[int, ...] = (3, 4)) -> np.ndarray:
    rng = np.random.default_rng(len(name))
    numbers = rng.integers(0, 100, shape)
    if name == "bool":
        return numbers > 50
    if name.startswith("complex"):
        return (numbers + 1j * numbers[::-1]).astype(name)
    return numbers.astype(dtypes.DTYPES[name].numpy)


def both(name: str, shape: tuple[int, ...] = (3, 4)) -> tuple[object, torch.Tensor]:
    array = sample(name, shape)
    if name == "bfloat16":
        theirs = torch.from_numpy(array.astype(np.float32)).bfloat16()
    else:
        theirs = torch.from_numpy(array.copy())
    raw = io.BytesIO()
    torch.save(theirs, raw)
    raw.seek(0)
    return flambeau.load(raw), theirs


# Both directions


@pytest.mark.parametrize("zipped", FORMATS)
@pytest.mark.parametrize("name", NAMES)
def test_every_type_both_ways(name, zipped):
    ours, theirs = both(name)
    assert same(ours, theirs)
    options = {"_use_new_zipfile_serialization": zipped}
    assert same(flambeau.load(written_by_torch(theirs, **options)), theirs)
    assert same(flambeau.load(written(ours, **options)), ours)
    # PyTorch writes these in its old format too, but cannot read them back.
    if zipped or name not in ("uint16", "uint32", "uint64"):
        assert same(torch.load(written(ours, **options)), theirs)


@pytest.mark.parametrize("zipped", FORMATS)
@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (1,), (2, 3, 4)], ids=str)
def test_shapes(shape, zipped):
    ours, theirs = both("float32", shape)
    options = {"_use_new_zipfile_serialization": zipped}
    assert same(torch.load(written(ours, **options)), theirs)
    assert same(flambeau.load(written_by_torch(theirs, **options)), theirs)


def containers(lib) -> object:
    x = lib.from_numpy(np.arange(6, dtype=np.float32).reshape(2, 3))
    state = collections.OrderedDict(a=x, b=x[:1])
    state._metadata = {"": {"version": 1}, "layer": {"version": 2}}
    return {
        "state": state,
        "list": [1, -2, 2**70, 0.5, float("inf"), "naïve", None, True, b"\x00\xff", 1 + 2j],
        "tuple": (1, (2, (3, ()))),
        "set": {1, 2},
        "bytes": bytearray(b"abc"),
        "counter": collections.Counter("aab"),
        "dtypes": [getattr(lib, name) for name in NAMES],
        "devices": [lib.device("cpu"), lib.device("cuda", 1)],
        "size": lib.Size((2, 3)),
        5: {"nested": [x]},
    }


def check_containers(loaded, lib):
    expected = containers(lib)
    for key in ("list", "tuple", "set", "bytes", "counter", "dtypes", "devices", "size"):
        assert loaded[key] == expected[key]
        assert type(loaded[key]) is type(expected[key])
    assert type(loaded["state"]) is collections.OrderedDict
    assert loaded["state"]._metadata == expected["state"]._metadata
    x = loaded["state"]["a"]
    assert isinstance(x, lib.Tensor)
    assert loaded[5]["nested"][0] is x
    assert same(x, expected["state"]["a"])
    x[0, 0] = 41.0
    assert values(loaded["state"]["b"])[0, 0] == 41.0


@pytest.mark.parametrize("zipped", FORMATS)
def test_containers_both_ways(zipped):
    options = {"_use_new_zipfile_serialization": zipped}
    check_containers(torch.load(written(containers(flambeau), **options)), torch)
    check_containers(flambeau.load(written_by_torch(containers(torch), **options)), flambeau)
    check_containers(flambeau.load(written(containers(flambeau), **options)), flambeau)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol(protocol):
    obj = containers(flambeau)
    check_containers(flambeau.load(written(obj, pickle_protocol=protocol)), flambeau)
    again = torch.load(written(obj, pickle_protocol=protocol), weights_only=False)
    check_containers(again, torch)


def test_a_self_containing_list():
    loop: list = [flambeau.ones(1)]
    loop.append(loop)
    assert (again := flambeau.load(written(loop)))[1] is again


@pytest.mark.parametrize("zipped", FORMATS)
def test_views_keep_strides_and_share(zipped):
    options = {"_use_new_zipfile_serialization": zipped}
    base = torch.arange(24.0).reshape(4, 6)
    views = [base, base.t(), base[1:3, ::2], base[2], base[:1].expand(5, 6)]
    loaded = flambeau.load(written_by_torch(views, **options))
    assert all(same(a, b) for a, b in zip(loaded, views, strict=True))
    again = torch.load(written(loaded, **options))
    assert all(same(a, b) for a, b in zip(again, views, strict=True))
    for group, lib in ((loaded, flambeau), (again, torch)):
        group[0].add_(100)
        assert all((values(view) >= 100).all() for view in group), lib


def test_a_shared_storage_is_written_once():
    base = flambeau.from_numpy(np.zeros(10_000, np.float32))
    buffer = written([base[:10], base[5:], base])
    assert buffer.getbuffer().nbytes < 44_000
    stored = [i for i in zipfile.ZipFile(buffer).infolist() if "/data/" in i.filename]
    assert [i.file_size for i in stored] == [40_000]


@pytest.mark.parametrize("zipped", FORMATS)
@pytest.mark.parametrize("requires_grad", [True, False])
def test_parameters(requires_grad, zipped):
    options = {"_use_new_zipfile_serialization": zipped}
    ours = flambeau.nn.Parameter(flambeau.ones(3), requires_grad=requires_grad)
    theirs = torch.nn.Parameter(torch.ones(3), requires_grad=requires_grad)
    read = torch.load(written([ours, ours], **options))
    assert type(read[0]) is torch.nn.Parameter and read[0] is read[1] and same(read[0], theirs)
    back = flambeau.load(written_by_torch([theirs, theirs], **options))
    assert type(back[0]) is flambeau.nn.Parameter and back[0] is back[1] and same(back[0], theirs)


def test_requires_grad_is_kept():
    ours = flambeau.tensor([1.0, 2.0], requires_grad=True)
    assert torch.load(written(ours)).requires_grad
    assert flambeau.load(written_by_torch(torch.ones(2, requires_grad=True))).requires_grad


@pytest.mark.parametrize("zipped", FORMATS)
def test_conjugate_and_negative_views_are_worked_out(zipped):
    z = torch.tensor([[1 + 2j, 3 - 4j], [5j, 6]])
    views = [z, z.conj().t(), z.conj().imag, z[1].conj()]
    for theirs in views:
        buffer = written_by_torch([theirs], _use_new_zipfile_serialization=zipped)
        ours = flambeau.load(buffer)[0]
        assert np.array_equal(values(ours), values(theirs))


def test_attributes_of_a_tensor():
    theirs, parameter = torch.ones(2), torch.nn.Parameter(torch.ones(2))
    theirs.note, parameter.note = "mine", [1, 2]
    ours = flambeau.load(written_by_torch([theirs, parameter]))
    assert ours[0].note == "mine" and ours[1].note == [1, 2]
    again = torch.load(written(ours))
    assert again[0].note == "mine" and again[1].note == [1, 2]


class Labelled(flambeau.Tensor):
    pass


class Special(flambeau.nn.Parameter):
    pass


def test_subclasses():
    base = flambeau.ones(4)
    parts = bridge.take_apart(base)
    labelled = bridge.build(parts.flat, 0, (4,), (1,), False, Labelled)
    labelled.label = "x"
    with pytest.raises(serialization.UnsafeGlobalError, match="Labelled"):
        flambeau.load(written(labelled))
    with serialization.safe_globals([Labelled]):
        loaded = flambeau.load(written(labelled))
    assert type(loaded) is Labelled and loaded.label == "x" and same(loaded, torch.ones(4))
    # A subclass of Parameter is saved as a Parameter, as PyTorch does.
    special = flambeau.load(written(Special(base)))
    assert type(special) is flambeau.nn.Parameter


@pytest.mark.parametrize("name", ["_storage", "_meta", "_base", "grad", "data", "__class__"])
def test_a_file_cannot_replace_what_makes_up_a_tensor(name):
    ours = flambeau.ones(2)
    ours.note = 1
    data = zipfile.ZipFile(written(ours)).read("archive/data.pkl")
    assert data.count(b"X\x04\x00\x00\x00note") == 1
    spelled = b"X" + struct.pack("<I", len(name)) + name.encode()
    stream = io.BytesIO()
    writer = archive.ArchiveWriter(stream, "archive")
    writer.add("data.pkl", data.replace(b"X\x04\x00\x00\x00note", spelled))
    writer.add("data/0", bytes(8))
    writer.finish()
    stream.seek(0)
    with pytest.raises(pickle.UnpicklingError, match=name):
        flambeau.load(stream)


def test_one_storage_as_two_types_is_refused(monkeypatch):
    x, y = flambeau.ones(2), flambeau.ones(2)
    flat = np.ones(2, np.float32)
    parts = {id(x): flat, id(y): flat.view(np.int32)}
    cls = type(x)
    monkeypatch.setattr(cls, "_storage_parts", lambda self: (flat, parts[id(self)], 0, (2,), (1,)))
    with pytest.raises(RuntimeError, match="view the same data as different types"):
        flambeau.save([x, y], io.BytesIO())


def test_a_file_in_the_other_byte_order():
    theirs = [torch.arange(5.0), torch.tensor([1 + 2j]), torch.arange(4).to(torch.uint16),
              torch.tensor([1.5]).bfloat16(), torch.tensor([True])]  # fmt: skip
    source, target = zipfile.ZipFile(written_by_torch(theirs)), io.BytesIO()
    with zipfile.ZipFile(target, "w") as swapped:
        sizes = iter((4, 4, 2, 2, 1))
        for info in source.infolist():
            data = source.read(info)
            if info.filename.endswith("byteorder"):
                data = b"big"
            elif "/data/" in info.filename:
                data = np.frombuffer(data, f"u{next(sizes)}").byteswap().tobytes()
            swapped.writestr(info.filename, data)
    target.seek(0)
    assert all(same(a, b) for a, b in zip(flambeau.load(target), theirs, strict=True))


names = st.sampled_from(NAMES)
leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary(),
    st.complex_numbers(allow_nan=False),
)  # fmt: skip
nested = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=4)
        | st.tuples(inner, inner)
    ),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(nested, st.booleans())
def test_plain_data_both_ways(data, zipped):
    options = {"_use_new_zipfile_serialization": zipped}
    assert torch.load(written(data, **options)) == data
    assert flambeau.load(written_by_torch(data, **options)) == data


# The container


def test_our_pickles_name_nothing_of_flambeau():
    obj = containers(flambeau) | {"p": flambeau.nn.Parameter(flambeau.ones(1))}
    data = zipfile.ZipFile(written(obj)).read("archive/data.pkl")
    named = {arg.split()[0] for op, arg, _ in pickletools.genops(data) if op.name == "GLOBAL"}
    assert named == {
        "collections", "torch", "torch._utils", "torch.storage", "__builtin__", "_codecs",
    } - {"torch.storage"}  # fmt: skip


def records(buffer: io.BytesIO) -> list[str]:
    return [info.filename for info in zipfile.ZipFile(buffer).infolist()]


def test_the_archive_is_laid_out_as_torch_does():
    make = lambda lib: {"a": lib.from_numpy(np.ones(3, np.float32)), "b": 1}
    ours, theirs = written(make(flambeau)), written_by_torch(make(torch))
    assert records(ours) == records(theirs)
    pickles = [zipfile.ZipFile(f).read("archive/data.pkl") for f in (ours, theirs)]
    assert pickles[0] == pickles[1]
    for name in (".format_version", ".storage_alignment", "byteorder", "version"):
        read = [zipfile.ZipFile(f).read(f"archive/{name}") for f in (ours, theirs)]
        assert read[0] == read[1]
    assert len(zipfile.ZipFile(ours).read("archive/.data/serialization_id")) == 40


def test_records_are_aligned():
    raw = written([flambeau.ones(n) for n in range(1, 20)]).getvalue()
    for info in zipfile.ZipFile(io.BytesIO(raw)).infolist():
        name, extra = struct.unpack("<HH", raw[info.header_offset + 26 : info.header_offset + 30])
        assert (info.header_offset + 30 + name + extra) % 64 == 0
        assert info.compress_type == zipfile.ZIP_STORED


def test_equal_contents_make_equal_files():
    assert written(containers(flambeau)).getvalue() == written(containers(flambeau)).getvalue()


def test_the_folder_is_named_after_the_file(tmp_path):
    flambeau.save(1, tmp_path / "model.tar.gz")
    flambeau.save(1, str(tmp_path / "naïve.pt"))
    torch.save(1, tmp_path / "theirs.tar.gz")
    names = {p.name: zipfile.ZipFile(p).namelist()[0] for p in tmp_path.iterdir()}
    assert names == {
        "model.tar.gz": "model.tar/data.pkl",
        "naïve.pt": "naïve/data.pkl",
        "theirs.tar.gz": "theirs.tar/data.pkl",
    }
    assert torch.load(tmp_path / "naïve.pt") == 1


def test_archives_over_four_gigabytes_use_zip64(monkeypatch):
    """The same fields at a smaller limit, read by another implementation."""
    monkeypatch.setattr(archive, "_LIMIT_16", 3)
    stream = io.BytesIO()
    writer = archive.ArchiveWriter(stream, "big")
    writer.add("one", b"1" * 100)
    writer.finish()
    assert zipfile.ZipFile(stream).read("big/one") == b"1" * 100
    assert archive.ArchiveReader(stream).read("one") == b"1" * 100
    record = archive._Record(b"x", 2**33, 2**34, 7)
    entry = archive._directory_entry(record)
    assert entry.endswith(struct.pack("<HHQQQ", 1, 24, 2**34, 2**34, 2**33))


def test_no_byteorder_record():
    buffer = written(flambeau.ones(2), _disable_byteorder_record=True)
    assert not any("byteorder" in name for name in records(buffer))
    buffer.seek(0)
    assert same(torch.load(buffer), torch.ones(2))
    buffer.seek(0)
    assert same(flambeau.load(buffer), torch.ones(2))


def test_a_compressed_archive_is_read():
    source, target = zipfile.ZipFile(written_by_torch(torch.arange(1000.0))), io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed:
        for info in source.infolist():
            packed.writestr(info.filename, source.read(info))
    target.seek(0)
    assert same(flambeau.load(target), torch.arange(1000.0))


class Trickle(io.RawIOBase):
    """A raw stream that takes a few bytes at a time and cannot seek."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        self.data += bytes(data[:100])
        return min(len(data), 100)


@pytest.mark.parametrize("zipped", FORMATS)
def test_any_object_with_write(zipped):
    stream = Trickle()
    flambeau.save(flambeau.ones(300), stream, _use_new_zipfile_serialization=zipped)
    assert same(torch.load(io.BytesIO(bytes(stream.data))), torch.ones(300))


@pytest.mark.parametrize("zipped", FORMATS)
def test_open_files(tmp_path, zipped):
    path = tmp_path / "open.pt"
    with open(path, "wb") as stream:
        flambeau.save(flambeau.ones(3), stream, _use_new_zipfile_serialization=zipped)
    with open(path, "rb") as stream:
        assert same(flambeau.load(stream), torch.ones(3))
    assert same(torch.load(path), torch.ones(3))


def test_old_files_in_a_row():
    buffer = io.BytesIO()
    for n in (1, 2):
        flambeau.save(flambeau.ones(n), buffer, _use_new_zipfile_serialization=False)
    buffer.seek(0)
    assert [flambeau.load(buffer).shape[0], flambeau.load(buffer).shape[0]] == [1, 2]


def test_mmap(tmp_path):
    path = tmp_path / "m.pt"
    data = [torch.arange(1000.0), torch.ones(0), torch.tensor([1 + 1j])]
    torch.save(data, path)
    before = path.read_bytes()
    loaded = flambeau.load(path, mmap=True)
    assert all(same(a, b) for a, b in zip(loaded, data, strict=True))
    loaded[0].add_(1)
    assert path.read_bytes() == before
    flambeau.save(loaded, tmp_path / "n.pt")
    again = torch.load(tmp_path / "n.pt", mmap=True)
    assert np.array_equal(values(again[0]), np.arange(1000.0) + 1)
    torch.save(data, path, _use_new_zipfile_serialization=False)
    with pytest.raises(RuntimeError, match="mmap can only be used"):
        flambeau.load(path, mmap=True)
    with pytest.raises(ValueError, match="file path"):
        flambeau.load(io.BytesIO(), mmap=True)


# Where storages go


def on_cuda() -> io.BytesIO:
    """What PyTorch writes of a tensor on a GPU: the same, but for the location."""
    source, target = zipfile.ZipFile(written_by_torch(torch.ones(3))), io.BytesIO()
    with zipfile.ZipFile(target, "w") as moved:
        for info in source.infolist():
            data = source.read(info)
            if info.filename.endswith("data.pkl"):
                assert b"X\x03\x00\x00\x00cpu" in data
                data = data.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
            moved.writestr(info.filename, data)
    target.seek(0)
    return target


@pytest.mark.parametrize(
    "place",
    ["cpu", flambeau.device("cpu"), {"cuda:0": "cpu"}, lambda s, l: s, lambda s, l: s.cpu()],
    ids=["string", "device", "dict", "function", "method"],
)
def test_map_location(place):
    assert same(flambeau.load(on_cuda(), map_location=place), torch.ones(3))


@pytest.mark.parametrize("place", [None, {"cpu": "cpu"}, "cuda", lambda s, l: None])
def test_cuda_without_cuda(place):
    with pytest.raises(RuntimeError, match="on a CUDA device"):
        flambeau.load(on_cuda(), map_location=place)


def test_a_function_sees_each_storage_once():
    seen = []
    x = torch.ones(4)
    buffer = written_by_torch([x, x[1:], torch.ones(2)])
    flambeau.load(buffer, map_location=lambda s, l: seen.append((s.nbytes(), l)))
    assert seen == [(16, "cpu"), (8, "cpu")]


def test_other_map_locations_are_refused():
    with pytest.raises(TypeError, match="map_location"):
        flambeau.load(written(flambeau.ones(1)), map_location=3)
    with pytest.raises(RuntimeError, match="tagged with foo"):
        flambeau.load(written(flambeau.ones(1)), map_location="foo")
