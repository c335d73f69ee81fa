"""Integers known only when a kernel runs: sizes that differ among programs of the same primitives.

A program is planned once for all of them. A `Size` has the value it has in the program that is
planned; arithmetic gives other ones; whatever the plan asks about them (is it 1? is it below a
bound?) is answered by that value and noted. Another program fits the plan if it answers all
questions alike: then the plan's expressions, worked out for its own numbers, are what its kernels
get. What asks for the plain integer notes that it has to be that very one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["MARK", "Size", "Sizes", "divides", "has_size", "later", "plain", "whole"]

# Around a size's number in text that is to be a kernel's.
MARK = "\u00a7"
# Variables are at least this: sizes of 0 and 1 mean other programs.
LEAST = 2

# Sums of products: (product of atoms, factor) in order; an atom is a variable or an operation.
Terms = tuple[tuple[tuple[int, ...], int], ...]


class Size(int):
    """One of `Sizes`' integers."""

    owner: Sizes
    terms: Terms
    number: int

    def _with(self, other: Any, op: str) -> Any:
        return self.owner.combine(op, self, other)

    def __add__(self, other: Any) -> Any:
        return self._with(other, "+")

    __radd__ = __add__

    def __mul__(self, other: Any) -> Any:
        return self._with(other, "*")

    __rmul__ = __mul__

    def __sub__(self, other: Any) -> Any:
        return self + -other if isinstance(other, int) else NotImplemented

    def __rsub__(self, other: Any) -> Any:
        return -self + other if isinstance(other, int) else NotImplemented

    def __neg__(self) -> Any:
        return self * -1

    def __pos__(self) -> Size:
        return self

    def __floordiv__(self, other: Any) -> Any:
        return self.owner.divided(self, other)

    def __rfloordiv__(self, other: Any) -> Any:
        return self.owner.divided(other, self)

    def __mod__(self, other: Any) -> Any:
        quotient = self // other
        return quotient if quotient is NotImplemented else self - quotient * other

    def __rmod__(self, other: Any) -> Any:
        quotient = other // self
        return quotient if quotient is NotImplemented else other - quotient * self

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> Any:
        return other // self, other % self

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, int):
            return NotImplemented
        return self.owner.alike(self, other)

    def __ne__(self, other: object) -> bool:
        if not isinstance(other, int):
            return NotImplemented
        return not self.owner.alike(self, other)

    def __lt__(self, other: Any) -> bool:
        return self.owner.asked("<", self, other)

    def __gt__(self, other: Any) -> bool:
        return self.owner.asked("<", other, self)

    def __le__(self, other: Any) -> bool:
        return not self.owner.asked("<", other, self)

    def __ge__(self, other: Any) -> bool:
        return not self.owner.asked("<", self, other)

    def __bool__(self) -> bool:
        return not self.owner.asked("==", self, 0)

    def __hash__(self) -> int:
        return int.__hash__(self)

    def fixed(self) -> int:
        """The plain integer; no other will do from now on."""
        value = int.__index__(self)
        self.owner.guards.setdefault(("==", self.terms, self.owner.terms(value)), True)
        return value

    def _plainly(name: str) -> Any:  # type: ignore[misc]
        operation = getattr(int, name)

        def method(self: Size, *others: Any) -> Any:
            others = tuple([o.fixed() if o.__class__ is Size else o for o in others])
            return operation(self.fixed(), *others)

        return method

    for _name in (
        "__int__", "__index__", "__float__", "__trunc__", "__truediv__", "__rtruediv__", "__and__",
        "__rand__", "__or__", "__ror__", "__xor__", "__rxor__", "__lshift__", "__rlshift__",
        "__rshift__", "__rrshift__", "__pow__", "__rpow__", "__invert__", "__abs__", "__round__",
        "bit_length", "bit_count", "to_bytes",
    ):  # fmt: skip
        locals()[_name] = _plainly(_name)
    del _name

    def __repr__(self) -> str:
        return f"{MARK}{self.number}{MARK}"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(self.fixed(), spec) if spec else repr(self)


class Sizes:
    """The variables of one plan, what was computed from them, and what was asked."""

    def __init__(self) -> None:
        # An atom: a variable's number, or (function, terms of its arguments).
        self.atoms: list[int | tuple[Callable[..., int], tuple[Terms, ...]]] = []
        self._atom_of: dict[Any, int] = {}
        # What an atom is at least, if that is known.
        self._least: list[int | None] = []
        self.made: list[Size] = []
        self._size_of: dict[Terms, Size] = {}
        # (question, one side, the other) and the answer.
        self.guards: dict[tuple[str, Terms, Terms], bool] = {}
        self.variables = 0

    def variable(self, value: int) -> Size:
        """A new integer, of the given value in the program that is planned."""
        atom = self._atom(self.variables, LEAST)
        self.variables += 1
        found = self.size((((atom,), 1),), value)
        assert found.__class__ is Size
        return found  # type: ignore[return-value]

    def _atom(self, what: Any, least: int | None) -> int:
        found = self._atom_of.get(what)
        if found is None:
            found = self._atom_of[what] = len(self.atoms)
            self.atoms.append(what)
            self._least.append(least)
        return found

    @staticmethod
    def terms(x: int) -> Terms:
        if x.__class__ is Size:
            return x.terms  # type: ignore[attr-defined]
        return (((), x),) if x else ()

    def size(self, terms: Terms, value: int) -> int:
        """The size of these terms, or the plain integer that they are."""
        if not terms:
            return 0
        if len(terms) == 1 and not terms[0][0]:
            return terms[0][1]
        found = self._size_of.get(terms)
        if found is None:
            found = Size(value)
            found.owner, found.terms, found.number = self, terms, len(self.made)
            self._size_of[terms] = found
            self.made.append(found)
        return found

    def combine(self, op: str, a: int, b: Any) -> Any:
        """A sum or a product."""
        if not isinstance(b, int):
            return NotImplemented if not isinstance(b, float) else plainly(op, a, b)
        x, y = self.terms(a), self.terms(b)
        if op == "+":
            return self.size(_sum(x, y), int.__add__(a, b))
        total: Terms = ()
        for product, factor in y:
            total = _sum(total, x, factor, product)
        return self.size(total, int.__mul__(a, b))

    def divided(self, a: Any, b: Any) -> Any:
        """The quotient, rounded down."""
        if not (isinstance(a, int) and isinstance(b, int)):
            return NotImplemented
        x, y = self.terms(a), self.terms(b)
        value = int.__floordiv__(a, b)
        if b.__class__ is Size:
            self.asked("==", b, 0)
        least, room = self.least(x), self.least(_sum(y, x, -1))
        positive = least is not None and least >= 0
        if positive and room is not None and room > 0:
            return 0
        exact = _quotient(x, y)
        if exact is not None:
            return self.size(exact, value)
        by = self.least(y)
        return self.called(
            _floor, (a, b), value, 0 if positive and by is not None and by > 0 else None
        )

    def called(
        self, function: Callable[..., int], given: Sequence[int], value: int, least: int | None = 0
    ) -> int:
        """A function of sizes, at least ``least``, that is worked out for each program."""
        atom = self._atom((function, tuple(map(self.terms, given))), least)
        return self.size((((atom,), 1),), value)

    def least(self, terms: Iterable[tuple[tuple[int, ...], int]]) -> int | None:
        """What the terms are at least, if that is plain: none of them falls from there on."""
        # Each atom as its least value and what it is more than that.
        total: dict[tuple[int, ...], int] = {}
        for product, factor in terms:
            parts: list[tuple[tuple[int, ...], int]] = [((), factor)]
            for atom in product:
                low = self._least[atom]
                if low is None:
                    return None
                parts = [((*p, atom), n) for p, n in parts] + [
                    (p, n * low) for p, n in parts if low
                ]
            for p, n in parts:
                total[p] = total.get(p, 0) + n
        bound = total.pop((), 0)
        return None if any(n < 0 for n in total.values()) else bound

    def alike(self, a: int, b: int) -> bool:
        """Whether they are equal for all values.

        Whether one is 0 or 1 is noted instead; that others are equal by chance is of no use to a
        plan, and no harm.
        """
        x, y = self.terms(a), self.terms(b)
        return x == y or ((b.__class__ is int and b in (0, 1)) and self.asked("==", a, b))

    def asked(self, op: str, a: int, b: Any) -> bool:
        """Whether ``a == b``, or ``a < b``: noted, unless it is so for all values."""
        if not isinstance(b, int) or not isinstance(a, int):
            return NotImplemented if not isinstance(b, float) else int.__index__(a) < b
        x, y = self.terms(a), self.terms(b)
        if x == y:
            return op == "=="
        above, below = self.least(_sum(y, x, -1)), self.least(_sum(x, y, -1))
        if above is not None and above > 0:
            return op == "<"
        if below is not None and below >= (op == "=="):
            return False
        answer = int.__eq__(a, b) if op == "==" else int.__lt__(a, b)
        return self.guards.setdefault((op, x, y), answer)

    def compiled(
        self, wanted: Sequence[int], checked: bool = True
    ) -> Callable[..., tuple[int, ...] | None]:
        """A function of the variables: the wanted sizes, or None where a question differs.

        Not ``checked``: only what they are.
        """
        writer = _Writer(self)
        checks = []
        for (op, x, y), answer in self.guards.items() if checked else ():
            if any(product for product, _ in (*x, *y)):
                holds = f"{writer.sum(x)} {op} {writer.sum(y)}"
                checks.append(holds if answer else f"not {holds}")
        body = [*writer.lines]
        body += [f" if not ({c}): return None" for c in checks]
        writer.lines.clear()
        results = [writer.sum(self.terms(w)) for w in wanted]
        names = [f"x{k}" for k in range(self.variables)]
        least = " and ".join(f"{n} >= {LEAST}" for n in names) or "True"
        source = "\n".join(
            [
                f"def evaluate({', '.join(names)}):",
                f" if not ({least}): return None",
                *body,
                *writer.lines,
                f" return ({''.join(r + ', ' for r in results)})",
            ]
        )
        scope = writer.scope
        exec(compile(source, "<sizes>", "exec"), scope)
        return scope["evaluate"]


class _Writer:
    """Sizes as Python."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        self.lines: list[str] = []
        self.scope: dict[str, Any] = {}
        self.known: dict[int, str] = {}
        self.sums: dict[Terms, str] = {}

    def atom(self, atom: int) -> str:
        found = self.known.get(atom)
        if found is None:
            what = self.sizes.atoms[atom]
            if what.__class__ is int:
                found = f"x{what}"
            else:
                function, given = what  # type: ignore[misc]
                args = [self.sum(t) for t in given]
                found = f"y{atom}"
                if function is _floor:
                    # Never by zero in a program that fits.
                    self.lines.append(f" {found} = {args[0]} // {args[1]} if {args[1]} else 0")
                else:
                    self.scope[f"f{atom}"] = function
                    self.lines.append(f" {found} = f{atom}({', '.join(args)})")
            self.known[atom] = found
        return found

    def sum(self, terms: Terms) -> str:
        found = self.sums.get(terms)
        if found is None:
            found = "0"
            if terms:
                parts = [
                    "*".join([*([str(n)] if n != 1 or not p else []), *map(self.atom, p)])
                    for p, n in terms
                ]
                found = parts[0] if len(parts) == 1 and "*" not in parts[0] else ""
                if not found:
                    found = f"z{len(self.sums)}"
                    self.lines.append(f" {found} = {' + '.join(parts)}")
            self.sums[terms] = found
        return found


def _floor(a: int, b: int) -> int:
    return a // b


def _sum(x: Terms, y: Terms, factor: int = 1, product: tuple[int, ...] = ()) -> Terms:
    """``x + factor * product * y``."""
    total = dict(x)
    for p, n in y:
        if product:
            p = tuple(sorted((*p, *product)))
        total[p] = total.get(p, 0) + factor * n
    return tuple(sorted([t for t in total.items() if t[1]]))


def _quotient(x: Terms, y: Terms) -> Terms | None:
    """``x`` by ``y``, where nothing remains whatever the values."""
    if not y:
        return None
    by, factor = max(y, key=_rank)
    found: Terms = ()
    while x:
        product, n = max(x, key=_rank)
        rest = list(product)
        for atom in by:
            if atom not in rest:
                return None
            rest.remove(atom)
        if n % factor:
            return None
        term = tuple(rest)
        found = _sum(found, ((term, n // factor),))
        x = _sum(x, y, -(n // factor), term)
    return found


def _rank(term: tuple[tuple[int, ...], int]) -> tuple[int, tuple[int, ...]]:
    return len(term[0]), term[0]


def plainly(op: str, a: int, b: float) -> float:
    """Arithmetic with a number that is no integer: of that very integer."""
    n = a.fixed() if a.__class__ is Size else a  # type: ignore[attr-defined]
    return n + b if op == "+" else n * b


def divides(n: int, x: int) -> bool:
    """Whether ``x`` is a multiple of ``n``: of sizes, whatever their values."""
    if n.__class__ is Size or x.__class__ is Size:
        return _quotient(Sizes.terms(x), Sizes.terms(n)) is not None
    return x % n == 0


def has_size(thing: Any) -> bool:
    """Whether there is a size in numbers, tuples, lists and dictionaries."""
    if thing.__class__ is Size:
        return True
    if isinstance(thing, tuple | list):
        return any(map(has_size, thing))
    if thing.__class__ is dict:
        return any(map(has_size, thing.values()))
    return False


def plain(x: int) -> int:
    """The value in the program that is planned, with nothing noted: for what no plan depends on."""
    return int.__index__(x)


def whole(x: Any) -> int:
    """``int(x)``; a size stays one."""
    return x if x.__class__ is Size else int(x)


def later(function: Callable[..., int], *given: float) -> int:
    """``function(*given)``, not negative: worked out for each program if there is a size in it."""
    value = function(*[plain(x) if x.__class__ is Size else x for x in given])
    for x in given:
        if x.__class__ is Size:
            return x.owner.called(function, given, value)  # type: ignore[attr-defined]
    return value
