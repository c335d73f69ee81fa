"""Weights are downloaded once, checked, and loaded."""

from __future__ import annotations

import hashlib

import pytest

import flambeau
from flambeau import hub


@pytest.fixture
def address(tmp_path):
    """A file to download, whose name ends with its hash."""
    path = tmp_path / "weights.pth"
    flambeau.save(flambeau.nn.Linear(2, 1).state_dict(), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    named = path.with_name(f"weights-{digest[:8]}.pth")
    path.rename(named)
    return named.as_uri()


def test_a_state_dict_is_downloaded_once(address, tmp_path, capsys):
    folder = tmp_path / "models"
    state = hub.load_state_dict_from_url(address, folder, check_hash=True)
    assert list(state) == ["weight", "bias"]
    assert "Downloading" in capsys.readouterr().err
    (file,) = folder.iterdir()
    again = hub.load_state_dict_from_url(address, folder)
    assert flambeau.equal(again["weight"], state["weight"])
    assert capsys.readouterr().err == ""
    assert [file] == list(folder.iterdir())


def test_the_folder_and_the_name_may_be_chosen(address, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(hub, "_chosen", None)
    hub.set_dir(tmp_path / "hub")
    hub.load_state_dict_from_url(address, file_name="net.pth", progress=False)
    assert (tmp_path / "hub" / "checkpoints" / "net.pth").exists()


def test_another_hash_is_refused_and_leaves_no_file(address, tmp_path):
    goal = tmp_path / "goal"
    with pytest.raises(RuntimeError, match=r'invalid hash value \(expected "00000000"'):
        hub.download_url_to_file(address, goal, hash_prefix="00000000", progress=False)
    assert not goal.exists()
    assert not list(tmp_path.glob("*.partial"))


def test_code_in_a_file_is_not_run(tmp_path):
    path = tmp_path / "module.pth"
    flambeau.save(flambeau.nn.Linear(1, 1), path)
    with pytest.raises(Exception, match="Weights only load failed"):
        hub.load_state_dict_from_url(path.as_uri(), tmp_path / "models", progress=False)
    whole = hub.load_state_dict_from_url(path.as_uri(), tmp_path / "models", weights_only=False)
    assert isinstance(whole, flambeau.nn.Linear)
