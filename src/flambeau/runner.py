"""Runs a PyTorch script or module on Flambeau, and shows its errors as the script's own."""

from __future__ import annotations

import os
import re
import runpy
import sys
import traceback
from pathlib import Path
from types import CodeType, ModuleType, TracebackType

from flambeau.install import install, where_to_look

__all__ = ["read_script", "run_script", "run_module"]

_PACKAGE = str(Path(__file__).parent) + os.sep
# What `@function` writes for each function has no file.
_GENERATED = "<recorder of "


def read_script(path: str) -> bytes:
    """The source of a script; ``OSError`` if it cannot be read."""
    if Path(path).is_dir():
        path = str(Path(path) / "__main__.py")
    return Path(path).read_bytes()


def run_script(path: str, source: bytes, arguments: list[str]) -> None:
    """Runs ``source`` as ``python path arguments`` would, with ``torch`` meaning Flambeau.

    ``__name__``, ``__file__``, ``sys.argv`` and ``sys.path[0]`` are what the script expects;
    exceptions, ``SystemExit`` included, propagate.
    """
    given = Path(path)
    if given.is_dir():
        given = given / "__main__.py"
    file = str(given.absolute())
    folder = str(Path(path).absolute()) if Path(path).is_dir() else str(given.resolve().parent)
    _prepare([path, *arguments], folder)
    main = ModuleType("__main__")
    main.__file__ = file
    # Pickling and multiprocessing look classes of the script up here.
    sys.modules["__main__"] = main
    code: CodeType = compile(source, file, "exec", dont_inherit=True)
    exec(code, main.__dict__)


def run_module(name: str, arguments: list[str]) -> None:
    """Runs a module as ``python -m name arguments`` would, with ``torch`` meaning Flambeau."""
    _prepare([name, *arguments], os.getcwd())
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def _prepare(argv: list[str], folder: str) -> None:
    sys.argv[:] = argv
    # What stands first is the folder of the `flambeau` command, or nothing under -P.
    if sys.path and not getattr(sys.flags, "safe_path", False):
        sys.path[0] = folder
    else:
        sys.path.insert(0, folder)
    install()
    sys.excepthook = _show


def _show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Prints an uncaught exception with the frames of the user's files only."""
    _add_hint(error)
    shown = traceback.TracebackException(kind, error, trace, compact=True)
    if os.environ.get("FLAMBEAU_TRACEBACK") != "full":
        _keep_user_frames(shown, set())
    print("".join(shown.format()), end="", file=sys.stderr)


def _keep_user_frames(shown: traceback.TracebackException, seen: set[int]) -> None:
    if id(shown) in seen:
        return
    seen.add(id(shown))
    inner = list(shown.stack)
    starts = [i for i, frame in enumerate(inner) if frame.filename == __file__]
    if starts:
        inner = inner[starts[0] + 1 :]
    inner = [frame for frame in inner if not frame.filename.startswith("<frozen ")]
    users = [frame for frame in inner if not frame.filename.startswith((_PACKAGE, _GENERATED))]
    # An error without a frame of the user's is our own: then ours are what helps.
    shown.stack[:] = users or inner
    for other in (shown.__cause__, shown.__context__, *(shown.exceptions or ())):
        if other is not None:
            _keep_user_frames(other, seen)


def _add_hint(error: BaseException) -> None:
    """Says where to look when the error is a name that Flambeau lacks."""
    name = _missing_name(error)
    if name is not None and "docs/coverage.md" not in str(error):
        error.add_note(where_to_look(name))


def _missing_name(error: BaseException) -> str | None:
    if isinstance(error, ImportError):
        return _missing_import(error)
    if isinstance(error, AttributeError) and error.name is not None:
        owner = error.obj
        if isinstance(owner, ModuleType):
            return f"{_public(owner.__name__)}.{error.name}" if _is_ours(owner.__name__) else None
        kind = owner if isinstance(owner, type) else type(owner)
        return f"{kind.__name__}.{error.name}" if _is_ours(kind.__module__) else None
    return None


def _missing_import(error: ImportError) -> str | None:
    module = error.name or ""
    if not _is_ours(module) or "partially initialized" in str(error):
        return None
    # The name itself is an attribute of the exception only since Python 3.12.
    wanted = re.match(r"cannot import name '(\w+)'", str(error))
    return f"{_public(module)}.{wanted[1]}" if wanted else _public(module)


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] in ("flambeau", "torch")


def _public(module: str) -> str:
    if module.startswith("flambeau.trainer"):
        return "lightning" + module.removeprefix("flambeau.trainer")
    return "torch" + module.removeprefix("flambeau").removeprefix("torch")
