"""The command line: run, doctor, the demonstration; how commands are found and fail."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from flambeau import version
from flambeau.cli import main
from flambeau.commands import COMMANDS

SOURCE = str(Path(__file__).parent.parent / "src")


def flambeau(*arguments: object, cwd: Path, **environment: str):
    return subprocess.run(
        [sys.executable, "-m", "flambeau", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=300,
        env={**os.environ, "PYTHONPATH": SOURCE, **environment},
    )


@pytest.fixture
def script(tmp_path):
    def write(code: str, name: str = "script.py") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(code), encoding="utf-8")
        return path

    return write


def test_a_pytorch_script_runs_unchanged(script, tmp_path):
    path = script(
        """
        import torch
        import torch.nn as nn
        from torch.utils.data import DataLoader, TensorDataset
        torch.manual_seed(0)
        x = torch.linspace(-1, 1, 32).unsqueeze(1)
        net = nn.Sequential(nn.Linear(1, 8), nn.ReLU(), nn.Linear(8, 1))
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        losses = []
        for a, b in list(DataLoader(TensorDataset(x, x * x), batch_size=16)) * 20:
            loss = nn.functional.mse_loss(net(a), b)
            optimizer.zero_grad(); loss.backward(); optimizer.step()
            losses.append(loss.item())
        print(torch.__spec__.name, losses[-1] < losses[0])
        """
    )
    done = flambeau("run", path, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "flambeau True\n"), done.stderr


def test_a_script_sees_what_python_would_show_it(script, tmp_path):
    script("value = 7", "folder/beside.py")
    path = script(
        """
        import sys, os, beside, pickle
        class Thing: pass
        assert pickle.loads(pickle.dumps(Thing())).__class__ is Thing
        assert sys.modules["__main__"].Thing is Thing
        print(__name__, os.path.basename(__file__), sys.argv[1:], beside.value)
        print(os.path.basename(sys.argv[0]), os.path.basename(sys.path[0]))
        """,
        "folder/main.py",
    )
    done = flambeau("run", path, "--lr", "0.1", "-m", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "__main__ main.py ['--lr', '0.1', '-m'] 7\nmain.py folder\n"


def test_a_module_runs_with_m(script, tmp_path):
    script("", "package/__init__.py")
    text = "import sys, torch; print(__name__, sys.argv[1:], torch.__spec__.name)"
    script(text, "package/part.py")
    done = flambeau("run", "-m", "package.part", "a", "--b", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "__main__ ['a', '--b'] flambeau\n"), done.stderr


@pytest.mark.parametrize(
    ("ending", "status"), [("sys.exit(3)", 3), ("sys.exit()", 0), ("sys.exit('no')", 1), ("", 0)]
)
def test_exit_codes_are_kept(script, tmp_path, ending, status):
    done = flambeau("run", script(f"import sys\n{ending}\n"), cwd=tmp_path)
    assert done.returncode == status
    assert done.stderr == ("no\n" if status == 1 else "")


def test_a_traceback_shows_the_users_frames_only(script, tmp_path):
    path = script(
        """
        import torch
        def inner():
            raise ValueError("mine")
        inner()
        """
    )
    done = flambeau("run", path, cwd=tmp_path)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1].startswith(f'  File "{path}", line 5')
    assert lines[-1] == "ValueError: mine"
    assert "runner.py" not in done.stderr and "cli.py" not in done.stderr
    assert len([line for line in lines if line.startswith("  File ")]) == 2


def test_an_error_inside_flambeau_ends_at_the_users_line(script, tmp_path):
    path = script("import torch\nx = torch.ones(2, 3)\ny = x @ x\nprint(y)\n")
    hidden = flambeau("run", path, cwd=tmp_path)
    files = [line for line in hidden.stderr.splitlines() if line.startswith("  File ")]
    assert hidden.returncode == 1 and len(files) == 1 and "line 3" in files[0], hidden.stderr
    full = flambeau("run", path, cwd=tmp_path, FLAMBEAU_TRACEBACK="full")
    assert os.path.join("src", "flambeau") in full.stderr


def test_a_syntax_error_points_into_the_script(script, tmp_path):
    path = script("x = 1\nfor\n")
    done = flambeau("run", path, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[0].strip() == f'File "{path}", line 2'


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("import torch\ntorch.no_such_name", "no_such_name"),
        ("from torch import no_such_name", "torch.no_such_name"),
        ("from torch.nn import NoSuchLayer", "torch.nn.NoSuchLayer"),
        ("import torch\ntorch.nn.functional.no_such", "torch.nn.functional.no_such"),
        ("import torch.no_such", "torch.no_such"),
        ("import torch\ntorch.ones(1).no_such_method()", "no_such_method"),
    ],
)
def test_a_missing_name_says_which_and_where_to_look(script, tmp_path, code, name):
    done = flambeau("run", script(code), cwd=tmp_path)
    assert done.returncode == 1
    assert name in done.stderr and "docs/coverage.md" in done.stderr, done.stderr


def test_a_users_own_missing_attribute_gets_no_hint(script, tmp_path):
    done = flambeau("run", script("class A: pass\nA().nothing"), cwd=tmp_path)
    assert "docs/coverage.md" not in done.stderr


def test_a_spawned_process_gets_flambeau_too(script, tmp_path):
    path = script(
        """
        import torch
        import torch.multiprocessing as mp
        def work(index, queue):
            import torch as again
            queue.put((index, again.__spec__.name, again is torch))
        if __name__ == "__main__":
            queue = mp.get_context("spawn").SimpleQueue()
            mp.spawn(work, args=(queue,), nprocs=1)
            print(queue.get())
        """
    )
    done = flambeau("run", path, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "(0, 'flambeau', True)\n"), done.stderr


@pytest.mark.parametrize("arguments", [["run"], ["run", "-m"], ["run", "--what"], ["run", "no.py"]])
def test_a_command_line_without_sense_ends_with_2(capsys, arguments):
    assert main(arguments) == 2
    assert "flambeau run" in capsys.readouterr().err


def test_help_and_version(capsys):
    assert main(["run", "--help"]) == 0
    assert "SCRIPT" in capsys.readouterr().out
    with pytest.raises(SystemExit) as exit:
        main(["--version"])
    assert exit.value.code == 0
    assert capsys.readouterr().out.strip() == f"flambeau {version.flambeau}"


def test_doctor_prints_what_a_report_needs(capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    for name in ("flambeau", "python", "numpy", "llvmlite", "ml_dtypes", "processor", "features"):
        assert f"\n{name} " in "\n" + out
    for name in ("threads", "blas", "cache", "extra train", "extra cuda"):
        assert f"\n{name}" in out


@pytest.mark.parametrize("option", ["--epochs=0", "--batch-size=-1", "--lr=nan", "--epochs=x"])
def test_train_refuses_settings_without_sense(capsys, option):
    with pytest.raises(SystemExit) as exit:
        main(["train", "digits", option])
    assert exit.value.code == 2
    assert option.partition("=")[0] in capsys.readouterr().err


def test_train_digits_learns_and_repeats(tmp_path):
    first, second = (
        flambeau("train", "digits", "--epochs", 3, "--seed", 1, "--out", name, cwd=tmp_path)
        for name in ("a/one.pt", "two.pt")
    )
    assert first.returncode == 0, first.stderr
    lines = first.stdout.splitlines()
    assert lines[0].startswith("1437 digits to learn from, 360 held out")
    assert len([line for line in lines if line.startswith("epoch ")]) == 3
    accuracy = float(lines[-1].removeprefix("test accuracy ").partition("%")[0])
    assert accuracy > 95
    assert (tmp_path / "a" / "one.pt").exists()
    assert [line for line in second.stdout.splitlines() if line.startswith("epoch ")] == lines[1:4]


def test_a_missing_extra_names_the_command(script, tmp_path):
    script("raise ModuleNotFoundError(\"No module named 'sklearn'\", name='sklearn')", "sklearn.py")
    done = flambeau(
        "train", "digits", cwd=tmp_path, PYTHONPATH=os.pathsep.join([str(tmp_path), SOURCE])
    )
    assert done.returncode == 1
    assert "pip install 'flambeau[train]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("option", ["--seed=x", "--nothing", "--batch-size=0"])
def test_typer_names_the_option_that_makes_no_sense(capsys, option):
    with pytest.raises(SystemExit) as exit:
        main(["train", "digits", option])
    assert exit.value.code == 2
    assert option.partition("=")[0] in capsys.readouterr().err


def test_the_help_lists_every_command(capsys):
    with pytest.raises(SystemExit) as exit:
        main(["--help"])
    assert exit.value.code == 0
    out = capsys.readouterr().out
    for name in COMMANDS:
        assert f"\n  {name} " in out
        assert (Path(SOURCE) / "flambeau" / "commands" / f"{name}.py").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "a command is needed"),
        (["trian"], "no command 'trian'; did you mean 'train'?"),
        (["--wat"], "no option '--wat'"),
    ],
)
def test_what_is_no_command_ends_with_2(capsys, arguments, said):
    with pytest.raises(SystemExit) as exit:
        main(arguments)
    assert exit.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("name", ["train", "eval", "predict", "info", "report"])
def test_without_typer_its_commands_name_the_extra(script, tmp_path, name):
    script("raise ModuleNotFoundError(\"No module named 'typer'\", name='typer')", "typer.py")
    path = os.pathsep.join([str(tmp_path), SOURCE])
    done = flambeau(name, "x", cwd=tmp_path, PYTHONPATH=path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "pip install 'flambeau[train]'" in done.stderr and "Traceback" not in done.stderr


def test_run_and_doctor_and_bench_do_not_need_typer_nor_yaml(script, tmp_path):
    path = script(
        """
        import sys
        from flambeau.cli import main
        sys.modules["typer"] = sys.modules["yaml"] = sys.modules["rich"] = None
        assert main(["doctor"]) == 0
        for name in ("doctor", "bench"):
            try:
                main([name, "--help"])
            except SystemExit as ending:
                assert ending.code == 0
        print("loaded", {"argparse", "typer._click"} & set(sys.modules))
        import torch
        """
    )
    done = flambeau("run", path, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "usage: flambeau bench" in done.stdout and "loaded {'argparse'}" in done.stdout


def test_the_command_line_alone_loads_no_command(tmp_path):
    code = (
        "import sys, flambeau.cli; "
        "print([m for m in ('typer', 'argparse', 'yaml', 'rich') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": SOURCE},
    )
    assert done.returncode == 0, done.stderr
    assert "typer" not in done.stdout and "yaml" not in done.stdout and "rich" not in done.stdout
