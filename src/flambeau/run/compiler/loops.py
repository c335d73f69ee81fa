"""Plain loops over integers, written in Python, as LLVM IR.

What the array kernels have no shape for (a sort) is written as Python functions of integers and
lists of integers: assignments, ``while``, ``if``, ``break``, calls of one another, ``return``. All
numbers are 64-bit; ``//`` rounds towards zero. Variables live in memory on the stack.
"""

from __future__ import annotations

import ast
import ctypes
import hashlib
import inspect
import textwrap
from functools import cache
from typing import TYPE_CHECKING, Any

from flambeau.run.compiler import code
from flambeau.run.compiler.emit import Kernel

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

_ARITHMETIC = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.FloorDiv: "sdiv", ast.Mod: "srem",
}  # fmt: skip
_COMPARISONS = {
    ast.Lt: "slt", ast.LtE: "sle", ast.Gt: "sgt", ast.GtE: "sge", ast.Eq: "eq", ast.NotEq: "ne",
}  # fmt: skip


def translated(module: ModuleType, prefix: str) -> dict[str, str]:
    """The IR of each function that ``module`` defines, by its name there.

    In the IR they are called ``prefix`` and their name. ``TypeError`` for what cannot be said.
    """
    tree = ast.parse(textwrap.dedent(inspect.getsource(module)))
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    return {f.name: _Function(f, prefix, {g.name for g in found}).text() for f in found}


@cache
def native(module: ModuleType, name: str, rows: int, numbers: int) -> Callable[..., Any]:
    """A function of ``module`` as native code; it takes ``rows`` addresses and then numbers."""
    texts = translated(module, "PREFIX")
    digest = hashlib.sha256("".join(texts.values()).encode()).hexdigest()[:16]
    entry, inner = f"loops_{digest}_{name}", f"loop_{digest}_"
    types = ["ptr"] * rows + ["i64"] * numbers
    takes = ", ".join(f"{t} %a{i}" for i, t in enumerate(types))
    texts[""] = (
        f"define i64 @{entry}({takes}) {{\n"
        f"  %r = call i64 @{inner}{name}({takes})\n  ret i64 %r\n}}"
    )
    text = "\n\n".join(texts.values()).replace("PREFIX", inner)
    address = code.request([Kernel(entry, text)]).wait()[entry]
    kinds = [ctypes.c_void_p] * rows + [ctypes.c_int64] * numbers
    return ctypes.CFUNCTYPE(ctypes.c_int64, *kinds)(address)


class _Function:
    """One function on its way to IR."""

    def __init__(self, node: ast.FunctionDef, prefix: str, known: set[str]) -> None:
        self.node = node
        self.prefix = prefix
        self.known = known
        self.lines: list[str] = []
        self.count = 0
        self.ends: list[str] = []
        self.rows = {a.arg for a in node.args.args if ast.unparse(a.annotation) == "Row"}  # type: ignore[arg-type]

    def text(self) -> str:
        given = [a.arg for a in self.node.args.args]
        numbers = [a for a in given if a not in self.rows]
        local = sorted(
            {
                t.id
                for s in ast.walk(self.node)
                if isinstance(s, ast.Assign)
                for t in s.targets
                if isinstance(t, ast.Name)
            }
            | set(numbers)
        )
        self.lines += [f"%{name}.at = alloca i64" for name in local]
        self.lines += [f"store i64 %{name}, ptr %{name}.at" for name in numbers]
        self.body(self.node.body)
        self.lines.append("ret i64 0")
        types = ", ".join(f"{'ptr' if a in self.rows else 'i64'} %{a}" for a in given)
        inner = "\n  ".join(self.lines)
        return f"define internal i64 @{self.prefix}{self.node.name}({types}) {{\n  {inner}\n}}"

    def fresh(self, text: str) -> str:
        self.count += 1
        name = f"%t.{self.count}"
        self.lines.append(f"{name} = {text}")
        return name

    def label(self) -> str:
        self.count += 1
        return f"l.{self.count}"

    def begin(self, label: str) -> None:
        self.lines += [f"br label %{label}", f"{label}:"]

    def body(self, statements: list[ast.stmt]) -> None:
        for s in statements:
            self.statement(s)

    def statement(self, s: ast.stmt) -> None:
        match s:
            case ast.Expr(ast.Constant()):
                pass
            case ast.Expr(value):
                self.value(value)
            case ast.Assign([ast.Name(name)], value):
                self.lines.append(f"store i64 {self.value(value)}, ptr %{name}.at")
            case ast.Assign([ast.Subscript(ast.Name(row), at)], value):
                found = self.value(value)
                self.lines.append(f"store i64 {found}, ptr {self.place(row, at)}")
            case ast.Return(value) if value is not None:
                self.lines += [f"ret i64 {self.value(value)}", f"{self.label()}:"]
            case ast.Break():
                self.lines += [f"br label %{self.ends[-1]}", f"{self.label()}:"]
            case ast.While(test, body):
                head, inside, end = self.label(), self.label(), self.label()
                self.begin(head)
                self.branch(test, inside, end)
                self.lines.append(f"{inside}:")
                self.ends.append(end)
                self.body(body)
                self.ends.pop()
                self.lines += [f"br label %{head}", f"{end}:"]
            case ast.If(test, body, other):
                yes, no, end = self.label(), self.label(), self.label()
                self.branch(test, yes, no)
                self.lines.append(f"{yes}:")
                self.body(body)
                self.lines += [f"br label %{end}", f"{no}:"]
                self.body(other)
                self.begin(end)
            case _:
                raise TypeError(f"no native code for: {ast.unparse(s)}")

    def place(self, row: str, at: ast.expr) -> str:
        return self.fresh(f"getelementptr i64, ptr %{row}, i64 {self.value(at)}")

    def value(self, e: ast.expr) -> str:
        match e:
            case ast.Constant(int() as n):
                return str(int(n))
            case ast.Name(name):
                return f"%{name}" if name in self.rows else self.fresh(f"load i64, ptr %{name}.at")
            case ast.BinOp(left, op, right) if type(op) in _ARITHMETIC:
                a, b = self.value(left), self.value(right)
                return self.fresh(f"{_ARITHMETIC[type(op)]} i64 {a}, {b}")
            case ast.Subscript(ast.Name(row), at):
                return self.fresh(f"load i64, ptr {self.place(row, at)}")
            case ast.Call(ast.Name(name), args) if name in self.known:
                given = [
                    f"{'ptr' if isinstance(a, ast.Name) and a.id in self.rows else 'i64'} "
                    f"{self.value(a)}"
                    for a in args
                ]
                return self.fresh(f"call i64 @{self.prefix}{name}({', '.join(given)})")
        raise TypeError(f"no native code for: {ast.unparse(e)}")

    def branch(self, test: ast.expr, yes: str, no: str) -> None:
        """Goes to one of two labels; ``and`` looks at its right side only where it must."""
        match test:
            case ast.Constant(True):
                self.lines.append(f"br label %{yes}")
            case ast.BoolOp(ast.And(), [first, *rest]):
                more = self.label()
                self.branch(first, more, no)
                self.lines.append(f"{more}:")
                self.branch(rest[0] if len(rest) == 1 else ast.BoolOp(ast.And(), rest), yes, no)
            case ast.Compare(left, [op], [right]) if type(op) in _COMPARISONS:
                a, b = self.value(left), self.value(right)
                found = self.fresh(f"icmp {_COMPARISONS[type(op)]} i64 {a}, {b}")
                self.lines.append(f"br i1 {found}, label %{yes}, label %{no}")
            case _:
                raise TypeError(f"no native code for: {ast.unparse(test)}")
