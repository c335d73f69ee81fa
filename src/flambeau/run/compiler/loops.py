"""Plain loops over integers, written in Python, as LLVM IR.

What the array kernels have no shape for (a sort) is written as Python functions of integers and
lists of integers: assignments, ``while``, ``if``, ``break``, calls of one another, ``return``. All
numbers are 64-bit, those in lists as wide as is asked for; ``//`` rounds towards zero.
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


def translated(module: ModuleType, prefix: str, bits: int = 64) -> dict[str, str]:
    """The IR of each function that ``module`` defines, by its name there.

    In the IR they are called ``prefix`` and their name; elements of lists have ``bits``.
    ``TypeError`` for what cannot be said.
    """
    tree = ast.parse(textwrap.dedent(inspect.getsource(module)))
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    return {f.name: _Function(f, prefix, {g.name for g in found}, bits).text() for f in found}


@cache
def native(
    module: ModuleType,
    name: str,
    rows: int,
    numbers: int,
    quicker: tuple[tuple[str, str], ...] = (),
    bits: int = 64,
) -> Callable[..., Any]:
    """A function of ``module`` as native code; it takes ``rows`` addresses and then numbers.

    ``quicker`` are names of functions and IR for them, in which all are called ``loop_`` and their
    names; elements of lists have ``bits``.
    """
    texts = translated(module, "loop_", bits) | dict(quicker)
    digest = hashlib.sha256("".join(texts.values()).encode()).hexdigest()[:16]
    entry = f"loops_{digest}_{name}"
    types = ["ptr"] * rows + ["i64"] * numbers
    takes = ", ".join(f"{t} %a{i}" for i, t in enumerate(types))
    texts[""] = (
        f"define i64 @{entry}({takes}) {{\n  %r = call i64 @loop_{name}({takes})\n  ret i64 %r\n}}"
    )
    text = "\n\n".join(texts.values()).replace("@loop_", f"@loop_{digest}_")
    address = code.request([Kernel(entry, text)]).wait()[entry]
    kinds = [ctypes.c_void_p] * rows + [ctypes.c_int64] * numbers
    return ctypes.CFUNCTYPE(ctypes.c_int64, *kinds)(address)


# A place in the code that is left for another: its label, and the variables' values there.
Edge = tuple[str, dict[str, str]]


class _Function:
    """One function on its way to IR: variables are values, and meet in phi nodes."""

    def __init__(self, node: ast.FunctionDef, prefix: str, known: set[str], bits: int) -> None:
        self.node = node
        self.prefix = prefix
        self.known = known
        self.element = f"i{bits}"
        self.lines: list[str] = []
        self.count = 0
        self.block = "entry"
        # Whether the code after here is reached.
        self.open = True
        self.breaks: list[list[Edge]] = []
        self.rows = {a.arg for a in node.args.args if ast.unparse(a.annotation) == "Row"}  # type: ignore[arg-type]
        self.values = {a.arg: f"%{a.arg}" for a in node.args.args if a.arg not in self.rows}

    def text(self) -> str:
        given = [a.arg for a in self.node.args.args]
        self.body(self.node.body)
        if self.open:
            self.lines.append("ret i64 0")
        types = ", ".join(f"{'ptr' if a in self.rows else 'i64'} %{a}" for a in given)
        inner = "\n  ".join(["entry:", *self.lines])
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
        self.lines.append(f"{label}:")
        self.block, self.open = label, True

    def leave(self, label: str) -> Edge:
        self.lines.append(f"br label %{label}")
        self.open = False
        return self.block, dict(self.values)

    def meet(self, label: str, edges: list[Edge]) -> None:
        """The block that all of ``edges`` go to: where they differ in a value, it is chosen."""
        if not edges:
            self.open = False
            return
        self.begin(label)
        # A variable that only some of the ways have set is not one here.
        self.values = {}
        for name in edges[0][1]:
            if any(name not in values for _, values in edges):
                continue
            ways = [(values[name], block) for block, values in edges]
            if len({value for value, _ in ways}) == 1:
                self.values[name] = ways[0][0]
            else:
                incoming = ", ".join(f"[ {value}, %{block} ]" for value, block in ways)
                self.values[name] = self.fresh(f"phi i64 {incoming}")

    def body(self, statements: list[ast.stmt]) -> None:
        for s in statements:
            if not self.open:
                raise TypeError(f"never reached: {ast.unparse(s)}")
            self.statement(s)

    def statement(self, s: ast.stmt) -> None:
        match s:
            case ast.Expr(ast.Constant()):
                pass
            case ast.Expr(value):
                self.value(value)
            case ast.Assign([ast.Name(name)], value):
                self.values[name] = self.value(value)
            case ast.Assign([ast.Subscript(ast.Name(row), at)], value):
                found = self.value(value)
                if self.element != "i64":
                    found = self.fresh(f"trunc i64 {found} to {self.element}")
                self.lines.append(f"store {self.element} {found}, ptr {self.place(row, at)}")
            case ast.Return(value) if value is not None:
                self.lines.append(f"ret i64 {self.value(value)}")
                self.open = False
            case ast.Break():
                # The label is not known yet: the loop's end puts it in.
                self.lines.append("")
                self.breaks[-1].append((f"{len(self.lines) - 1} {self.block}", dict(self.values)))
                self.open = False
            case ast.While(test, body):
                self.loop(test, body)
            case ast.If(test, body, other):
                yes, no, end = self.label(), self.label(), self.label()
                others = self.branch(test, yes, no)
                self.begin(yes)
                self.body(body)
                edges = [self.leave(end)] if self.open else []
                self.meet(no, others)
                self.body(other)
                edges += [self.leave(end)] if self.open else []
                self.meet(end, edges)
            case _:
                raise TypeError(f"no native code for: {ast.unparse(s)}")

    def loop(self, test: ast.expr, body: list[ast.stmt]) -> None:
        head, inside, end = self.label(), self.label(), self.label()
        before = self.leave(head)
        self.begin(head)
        # What the body changes is one of two values here; the second is known at its end.
        changed = sorted(
            {t.id for s in body for n in ast.walk(s) if isinstance(n, ast.Assign)
             for t in n.targets if isinstance(t, ast.Name)}
        )  # fmt: skip
        first = len(self.lines)
        for name in changed:
            self.values[name] = self.fresh("")
        edges = self.branch(test, inside, end)
        self.begin(inside)
        self.breaks.append([])
        self.body(body)
        after = self.leave(head) if self.open else None
        for k, name in enumerate(changed):
            ways = [before] if after is None else [before, after]
            incoming = ", ".join(f"[ {v.get(name, '0')}, %{block} ]" for block, v in ways)
            self.lines[first + k] += f"phi i64 {incoming}"
        for where, values in self.breaks.pop():
            line, block = where.split()
            self.lines[int(line)] = f"br label %{end}"
            edges.append((block, values))
        self.meet(end, edges)

    def place(self, row: str, at: ast.expr) -> str:
        return self.fresh(f"getelementptr {self.element}, ptr %{row}, i64 {self.value(at)}")

    def value(self, e: ast.expr) -> str:
        match e:
            case ast.Constant(int() as n):
                return str(int(n))
            case ast.Name(name):
                return f"%{name}" if name in self.rows else self.values[name]
            case ast.BinOp(left, op, right) if type(op) in _ARITHMETIC:
                a, b = self.value(left), self.value(right)
                return self.fresh(f"{_ARITHMETIC[type(op)]} i64 {a}, {b}")
            case ast.Subscript(ast.Name(row), at):
                found = self.fresh(f"load {self.element}, ptr {self.place(row, at)}")
                if self.element == "i64":
                    return found
                return self.fresh(f"sext {self.element} {found} to i64")
            case ast.Call(ast.Name(name), args) if name in self.known:
                given = [
                    f"{'ptr' if isinstance(a, ast.Name) and a.id in self.rows else 'i64'} "
                    f"{self.value(a)}"
                    for a in args
                ]
                return self.fresh(f"call i64 @{self.prefix}{name}({', '.join(given)})")
        raise TypeError(f"no native code for: {ast.unparse(e)}")

    def branch(self, test: ast.expr, yes: str, no: str) -> list[Edge]:
        """Goes to one of two labels, and gives the ways to the second.

        ``and`` looks at its right side only where it must.
        """
        match test:
            case ast.Constant(True):
                self.lines.append(f"br label %{yes}")
                return []
            case ast.BoolOp(ast.And(), [first, *rest]):
                more = self.label()
                edges = self.branch(first, more, no)
                self.begin(more)
                left = rest[0] if len(rest) == 1 else ast.BoolOp(ast.And(), rest)
                return edges + self.branch(left, yes, no)
            case ast.Compare(left, [op], [right]) if type(op) in _COMPARISONS:
                a, b = self.value(left), self.value(right)
                found = self.fresh(f"icmp {_COMPARISONS[type(op)]} i64 {a}, {b}")
                self.lines.append(f"br i1 {found}, label %{yes}, label %{no}")
                return [(self.block, dict(self.values))]
            case _:
                raise TypeError(f"no native code for: {ast.unparse(test)}")
