"""`import torch` means Flambeau after install(), and only then."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from flambeau.version import InterfaceVersion, flambeau, interface

SOURCE = str(Path(__file__).parent.parent / "src")


def run(code: str) -> subprocess.CompletedProcess[str]:
    """Runs code in a fresh interpreter: this one has the real torch."""
    return subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys; sys.path.insert(0, {SOURCE!r})\n{textwrap.dedent(code)}",
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )


def succeeds(code: str) -> str:
    done = run(code)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_modules_are_the_same_objects():
    succeeds(
        """
        import flambeau
        flambeau.install()
        import torch, torch.nn as nn, torch.nn.functional as F
        import torch.utils.checkpoint, torch.backends.cudnn, torch.optim.lr_scheduler
        from torch.cuda import amp
        import flambeau.nn.functional, flambeau.cuda.amp
        assert torch is flambeau and nn is flambeau.nn and F is flambeau.nn.functional
        assert amp is flambeau.cuda.amp and torch.backends is flambeau.backends
        # By this libraries tell which namespace it is.
        assert torch.__name__ == "torch"
        assert torch.nn.__name__ == "flambeau.nn"
        assert torch.nn.__spec__.name == "flambeau.nn"
        assert sys.modules["torch.nn.functional"] is sys.modules["flambeau.nn.functional"]
        """
    )


def test_installing_twice_is_installing_once_and_can_be_undone():
    succeeds(
        """
        import flambeau
        from flambeau.install import install, is_installed, uninstall
        before = list(sys.meta_path), list(sys.path)
        install(); install()
        assert is_installed() and len(sys.meta_path) == len(before[0]) + 1
        import torch.nn
        uninstall(); uninstall()
        assert not is_installed() and (list(sys.meta_path), list(sys.path)) == before
        assert not [name for name in sys.modules if name.partition(".")[0] == "torch"]
        assert "flambeau.nn" in sys.modules
        """
    )


def test_the_real_torch_in_use_is_an_error():
    done = run(
        """
        import types
        sys.modules["torch"] = types.ModuleType("torch")
        from flambeau.install import install
        install()
        """
    )
    assert done.returncode == 1
    assert "ImportError" in done.stderr and "restart the kernel" in done.stderr


def test_a_missing_module_says_which_and_where_to_look():
    out = succeeds(
        """
        from flambeau.install import install
        install()
        try:
            import torch.no_such_part.below
        except ModuleNotFoundError as error:
            print(error.name, error)
        try:
            from torch import no_such_part
        except ImportError as error:
            print(error)
        """
    )
    assert out.startswith("torch.no_such_part No module named 'torch.no_such_part'")
    assert "docs/coverage.md" in out and "flambeau doctor" in out


def test_the_version_is_that_of_the_interface_while_installed():
    succeeds(
        f"""
        import flambeau
        from flambeau.install import install, uninstall
        install()
        import torch, torch.version
        assert torch.__version__ == {str(interface)!r} == torch.version.__version__
        assert torch.version.cuda is None
        uninstall()
        assert flambeau.__version__ == {flambeau!r}
        """
    )


@pytest.mark.parametrize("older", ["1.13.1", "2.0", (2, 12, 9), "2.13.0"])
def test_versions_compare_by_number(older):
    assert interface >= older


def test_versions_compare_by_number_not_by_letter():
    assert InterfaceVersion("2.13.0") > "2.9.1"
    assert InterfaceVersion("2.13.0+cpu") < (2, 14)
    assert InterfaceVersion("2.13.0") <= "2.13"
    assert interface.split("+")[0] == "2.13.0"
    assert isinstance(interface, str)


def test_printed_types_are_pytorchs_while_installed():
    shown = succeeds(
        """
        import pickle
        import flambeau
        before = repr(flambeau.Tensor)
        flambeau.install()
        import torch
        x = torch.ones(2)
        print(*map(type, (x, x.shape, x.dtype, x.device)))
        kept = pickle.dumps((x.shape, x.dtype, x.device))
        assert pickle.loads(kept) == (x.shape, x.dtype, x.device)
        flambeau.uninstall()
        assert repr(flambeau.Tensor) == before != "<class 'torch.Tensor'>"
        """
    )
    assert shown.split("\n")[0] == (
        "<class 'torch.Tensor'> <class 'torch.Size'> <class 'torch.dtype'> <class 'torch.device'>"
    )


# In both: the types of layers, optimizers and the like, as scripts print them.
CLASSES = """
nn.Linear nn.Conv2d nn.Module nn.Sequential nn.ModuleList nn.Parameter nn.ParameterList nn.LSTM
nn.GRUCell nn.CrossEntropyLoss nn.ReLU nn.Softmax nn.BatchNorm2d nn.LayerNorm nn.InstanceNorm1d
nn.MultiheadAttention nn.TransformerEncoderLayer nn.Transformer nn.Embedding nn.Dropout nn.Flatten
nn.MaxPool2d nn.AdaptiveAvgPool2d nn.Upsample nn.PixelShuffle nn.Identity nn.LazyLinear nn.Unfold
nn.CosineSimilarity nn.ZeroPad2d nn.GroupNorm nn.utils.rnn.PackedSequence optim.Adam optim.SGD
optim.Optimizer optim.lr_scheduler.StepLR optim.swa_utils.AveragedModel utils.data.DataLoader
utils.data.TensorDataset utils.data.Dataset utils.data.RandomSampler distributions.Normal
distributions.transforms.ExpTransform autograd.Function amp.GradScaler Generator Tensor Size dtype
device
"""


def test_classes_print_as_pytorchs():
    from operator import attrgetter

    import torch

    names = CLASSES.split()
    shown = succeeds(
        f"""
        import pickle, inspect
        from operator import attrgetter
        import flambeau
        names = {names!r}
        before = [repr(attrgetter(n)(flambeau)) for n in names]
        flambeau.install()
        import torch
        classes = [attrgetter(n)(torch) for n in names]
        print(*classes, sep="\\n")
        assert all(pickle.loads(pickle.dumps(c)) is c for c in classes)
        assert "class Linear" in inspect.getsource(torch.nn.Linear)
        assert "class Adam" in inspect.getsource(torch.optim.Adam)
        flambeau.uninstall()
        assert [repr(attrgetter(n)(flambeau)) for n in names] == before
        """
    )
    assert shown.split("\n")[: len(names)] == [repr(attrgetter(n)(torch)) for n in names]


def test_modules_run_by_name():
    shown = succeeds(
        """
        import flambeau.runner
        flambeau.runner.run_module("torch.utils.collect_env", [])
        """
    )
    assert shown.startswith("Collecting environment information...\nflambeau")
