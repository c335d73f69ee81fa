"""Random programs for the compiler's fuzzer: text that PyTorch has accepted, line by line.

A program is the body of a function of the framework ``f``, run in a loop. Its lines are drawn one
by one and executed with PyTorch at once: what it refuses, and what grows out of hand, is left out.
So a program's text is readable, valid, and the same for a seed.
"""

from __future__ import annotations

import random
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

FLOATS = ("float32", "float64", "float16", "bfloat16")
INTS = ("int64", "int32", "uint8", "int16", "int8")
# What a disturbance of a type's values is, relative.
EPS = {"float64": 1e-15, "float32": 5e-7, "float16": 1e-3, "bfloat16": 8e-3}
SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 18, 31, 32, 33, 48, 63, 64, 65, 70)
# Kinds that at least some share of programs must have, as the issue says.
HARD = frozenset({"view write", "alias", "export", "mid-flush"})


@dataclass
class Input:
    """A tensor made outside the program: ``x`` anew each iteration, ``w`` a leaf, ``s`` a state."""

    name: str
    role: str
    shape: tuple[int, ...]
    dtype: str
    values: str = "normal"
    foreign: bool = False
    low: int = -5
    high: int = 6

    def array(self, seed: int, iteration: int, noise: float = 0.0) -> np.ndarray:
        """Its values, as float64, int64 or bool."""
        step = iteration if self.role == "x" else 99
        rng = np.random.default_rng([seed, step, *self.name.encode()])
        if self.dtype == "bool":
            return rng.random(self.shape) < 0.5
        if self.dtype in INTS:
            if self.values == "huge":
                info = np.iinfo(self.dtype)
                found = rng.integers(info.min, info.max, self.shape, endpoint=True)
                return found.astype(self.dtype).astype(np.int64)
            found = rng.integers(self.low, self.high, self.shape)
            if self.values == "bad" and iteration in (3, 7) and found.size:
                found.reshape(-1)[seed % found.size] = self.high
            return found
        found = np.asarray(rng.normal(size=self.shape))
        if self.values == "unit":
            found = np.asarray(rng.uniform(0.05, 0.95, self.shape))
        elif self.values == "bad":
            found = np.asarray(rng.uniform(0.05, 0.95, self.shape))
            if iteration in (3, 7) and found.size:
                found.reshape(-1)[seed % found.size] = 1.5
        elif self.values == "ties":
            found = np.round(found)
        elif self.values == "special":
            draw = rng.random(self.shape)
            for k, v in enumerate((np.nan, np.inf, -np.inf, 0.0, -0.0)):
                found = np.where((draw >= 0.04 * k) & (draw < 0.04 * k + 0.04), v, found)
        if noise:
            shake = np.random.default_rng([seed, step, int(noise), *self.name.encode()])
            found = found * (1 + EPS[self.dtype] * shake.uniform(-1, 1, self.shape))
        return found.astype(np.float64 if self.dtype == "float64" else np.float32)


@dataclass
class FuzzProgram:
    """What a seed means."""

    seed: int
    inputs: list[Input] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    returns: list[str] = field(default_factory=list)
    optimizer: str = ""
    kinds: set[str] = field(default_factory=set)
    iterations: int = 8
    # Iterations after which the results are read at once; whether results are kept to the end.
    reads: tuple[int, ...] = ()
    keeps: bool = True
    coarse: bool = False
    # Whether values that may be refused are read where they are computed.
    reads_at_once: bool = False

    def text(self) -> str:
        """The function, as it is executed."""
        names = [i.name for i in self.inputs]
        head = (
            f"def program({', '.join(['f', 'F', 'np', 't', 'look', 'hold', 'opt', 'S', *names])}):"
        )
        body = [part for line in self.lines for part in line.split("\n")]
        return "\n".join(
            [head, *[f"    {b}" for b in body], f"    return [{', '.join(self.returns)}]"]
        )

    def listing(self) -> str:
        """For people: inputs, then the text."""
        rows = [f"# seed {self.seed}: {', '.join(sorted(self.kinds))}"]
        rows += [
            f"# {i.name}: {i.role} {i.dtype}{list(i.shape)} {i.values}{' foreign' * i.foreign}"
            for i in self.inputs
        ]
        rows.append(
            f"# optimizer {self.optimizer or 'none'}, reads {self.reads}, keeps {self.keeps}"
        )
        return "\n".join([*rows, self.text()])


def place(module: Any, i: Input, array: np.ndarray) -> Any:
    """The input as a tensor of a framework."""
    dtype = getattr(module, i.dtype)
    if i.foreign:
        t = module.from_numpy(np.array(array.astype(i.dtype), order="C"))
    else:
        t = module.tensor(array, dtype=dtype)
    return t.requires_grad_() if i.role == "w" else t


def optimizer(module: Any, name: str, leaves: list) -> Any:
    # A large eps: where gradients vanish, their last bits must not say where a step goes.
    options: dict[str, Any] = {
        "SGD": {"lr": 0.05},
        "SGD momentum": {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
        "Adam": {"lr": 0.01, "eps": 1e-3},
        "AdamW": {"lr": 0.01, "weight_decay": 0.1, "eps": 1e-3},
        "RMSprop": {"lr": 0.01, "eps": 1e-3},
        "Adagrad": {"lr": 0.01, "eps": 1e-3},
        "Adadelta": {"lr": 0.5, "eps": 1e-3},
        "Adamax": {"lr": 0.01, "eps": 1e-3},
    }[name]
    return getattr(module.optim, name.split()[0])(leaves, **options)


OPTIMIZERS = ("SGD", "SGD momentum", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax")


class Generator:
    """Draws one program."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        self.program = FuzzProgram(seed)
        self.special = rng.random() < 0.12
        self.main = rng.choices(FLOATS, (76, 12, 6, 6))[0]
        self.program.coarse = self.main in ("float16", "bfloat16")
        # NumPy's own writes to memory it was given.
        self.numpy_writes = rng.random() < 0.06
        self.most = 60_000 if rng.random() < 0.06 else 2_500
        self.dims = [rng.choice(SIZES) for _ in range(3)] + [rng.choice((1, 2, 3, 4))]
        if rng.random() < 0.04:
            self.dims[rng.randrange(3)] = 0
        self.count = 0
        self.tensors: dict[str, Any] = {}
        # Running means and variances: two of them in one memory would be nonsense.
        self.stats: set[str] = set()
        # Addresses of memory known by two storages: PyTorch would not see that a write to one
        # spoils what a backward needs of the other.
        self.sealed: set[int] = set()
        self.looks: list[Any] = []
        self.env: dict[str, Any] = {
            "f": torch, "F": torch.nn.functional, "np": np, "t": 0, "S": {},
            "look": self.looks.append, "hold": self.looks.append, "opt": None,
        }  # fmt: skip

    # What is there

    def one(self, items: Any) -> Any:
        return items[self.rng.randrange(len(items))]

    def chance(self, p: float) -> bool:
        return self.rng.random() < p

    def shape(self, rank: int | None = None) -> tuple[int, ...]:
        rank = self.rng.choices(range(5), (8, 25, 40, 19, 8))[0] if rank is None else rank
        while True:
            shape = [1 if self.chance(0.1) else self.one(self.dims) for _ in range(rank)]
            while np.prod(shape, dtype=int) > self.most:
                k = max(range(rank), key=lambda d: shape[d])
                shape[k] = max(1, shape[k] // 2)
            return tuple(shape)

    def name(self) -> str:
        self.count += 1
        return f"v{self.count}"

    def input(
        self, shape: tuple[int, ...], dtype: str | None = None, role: str = "", **more: Any
    ) -> str:
        """A new tensor from outside."""
        dtype = dtype or self.main
        if not role:
            role = self.rng.choices("xws", (6, 3, 2))[0]
        if dtype not in FLOATS and role == "w":
            role = "x"
        if role == "w" and self.numpy_writes:
            role = "s"
        values = more.pop("values", None)
        if values is None:
            values = "ties" if self.chance(0.08) else "normal"
            if self.special and self.chance(0.5) and role != "w":
                values = "special"
            if dtype in INTS and self.chance(0.25):
                values = "huge"
        if dtype == "uint8":
            more.setdefault("low", 0)
        # NumPy has no bfloat16.
        foreign = role != "w" and dtype != "bfloat16" and self.chance(0.08)
        made = Input(f"{role}{self.count}", role, shape, dtype, values, foreign, **more)
        self.count += 1
        if dtype in ("float16", "bfloat16"):
            self.program.coarse = True
        self.program.inputs.append(made)
        t = place(torch, made, made.array(self.program.seed, 0))
        self.tensors[made.name] = self.env[made.name] = t
        if role == "s":
            self.env["S"][made.name] = t
        return made.name

    def pick(self, test: Any = None, recent: bool = True) -> str | None:
        """A tensor's name, the later ones likelier."""
        found = [n for n, t in self.tensors.items() if test is None or test(t)]
        if not found:
            return None
        if recent and self.chance(0.6):
            found = found[-4:]
        return self.one(found)

    def floating(self, rank: int = 0, most: int = 9) -> str:
        """A float tensor's name, of a rank at least."""

        def fits(t: Any) -> bool:
            return t.is_floating_point() and rank <= t.dim() <= most

        found = self.pick(fits) if self.chance(0.95) else None
        return found or self.input(self.shape(self.rng.randint(rank, min(most, max(rank, 3)))))

    def any(self) -> str:
        return self.pick() or self.input(self.shape())

    def get(self, name: str) -> Any:
        return self.tensors[name]

    # What is added

    def emit(self, line: str, made: str = "", kinds: str = "") -> bool:
        """Adds a line if PyTorch takes it; ``made``: names it assigns, separated by blanks."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                exec(compile(line, "<line>", "exec"), self.env)
                good = all(self.sane(self.env[n]) for n in made.split())
            except (RuntimeError, IndexError, ValueError, TypeError, NotImplementedError):
                good = False
        if not good:
            for n in made.split():
                self.env.pop(n, None)
            return False
        for n in made.split():
            self.tensors[n] = self.env[n]
            if self.env[n].dtype in (torch.float16, torch.bfloat16):
                self.program.coarse = True
        self.program.lines.append(line)
        self.program.kinds.update(k for k in kinds.split(",") if k)
        return True

    def sane(self, t: Any) -> bool:
        if t.numel() > self.most * 2 or t.is_complex():
            return False
        if not t.is_floating_point() or not t.numel():
            return True
        whole = t.detach().double()
        finite = whole[whole.isfinite()]
        if not self.special and finite.numel() < whole.numel():
            return False
        return not finite.numel() or float(finite.abs().max()) < 300

    def let(self, expression: str, kinds: str = "") -> bool:
        name = self.name()
        return self.emit(f"{name} = {expression}", name, kinds)

    def number(self) -> str:
        """A float: literal, or one that changes."""
        c = self.one((0.5, -0.3, 0.25, 2.0, 1.5, -1.0, 0.1, 3.0))
        return self.one((f"{c}", f"{c}", f"({c} + 0.1 * t)", f"({c} if t < 6 else {c} + 0.5)"))

    def partner(self, name: str) -> str:
        """A tensor that broadcasts with this one."""
        t = self.get(name)

        def fits(other: Any) -> bool:
            try:
                shape = torch.broadcast_shapes(t.shape, other.shape)
            except RuntimeError:
                return False
            return int(np.prod(shape)) <= self.most and other.dtype != torch.bool

        if self.chance(0.75):
            found = self.pick(fits, recent=False)
            if found:
                return found
        shape = [1 if self.chance(0.25) else n for n in t.shape]
        if shape and self.chance(0.3):
            del shape[: self.rng.randint(1, len(shape))]
        elif self.chance(0.1):
            shape = [self.one((2, 3)), *shape]
        return self.input(tuple(shape))

    def slices(self, t: Any, writable: bool = True) -> str:
        """An index of views: ints, slices with steps, some at places that change."""
        parts = []
        for n in t.shape[: self.rng.randint(1, max(1, t.dim()))]:
            if not n or self.chance(0.2):
                parts.append(":")
            elif self.chance(0.3):
                parts.append(
                    self.one((f"{self.rng.randrange(n)}", f"t % {n}", f"(t // 6) % {n}", "-1"))
                )
            elif n > 1 and self.chance(0.3):
                size = self.rng.randint(1, n - 1)
                start = self.one((f"t % {n - size + 1}", f"t // 6 % {n - size + 1}"))
                parts.append(f"{start}:{start} + {size}")
            else:
                a = self.rng.randrange(n)
                b = (
                    self.rng.randint(a, n)
                    if self.chance(0.1)
                    else self.rng.randint(min(a + 1, n), n)
                )
                step = self.one(("", "", "", ":2", ":3"))
                parts.append(f"{a or ''}:{b if b < n else ''}{step}")
        if self.chance(0.1):
            parts = ["...", *parts]
        if writable is False and self.chance(0.1):
            parts.append("None")
        return ", ".join(parts)

    def draw(self) -> FuzzProgram:
        from fuzz_layers import STEPS

        p, rng = self.program, self.rng
        for role in ["x", "w", *rng.choices("xws", k=rng.randint(0, 3))]:
            self.input(self.shape(), role=role)
        if self.chance(0.3):
            self.input(self.shape(), self.one((*INTS[:3], "int64", "bool")), role="x")
        if self.chance(0.45):
            # In 16 bits squares of gradients vanish: what is divided by them is chance.
            p.optimizer = self.one(OPTIMIZERS[:2] if p.coarse else OPTIMIZERS)
            self.env["opt"] = None
        wanted = rng.randint(4, 9) if rng.random() < 0.35 else rng.randint(8, 22)
        names, weights = list(STEPS), [w for _, w in STEPS.values()]
        # Some programs do much of one thing.
        theme = rng.choices(names, weights)[0] if self.chance(0.5) else ""
        tries = 0
        while len(p.lines) < wanted and tries < wanted * 6:
            tries += 1
            step = theme if theme and self.chance(0.25) else rng.choices(names, weights)[0]
            self.take(STEPS[step][0])
        self.finish()
        return p

    def take(self, step: Any) -> None:
        """One step, unless PyTorch does not even let it look at a tensor."""
        try:
            step(self)
        except (RuntimeError, IndexError):
            self.program.kinds.add("refused step")

    def finish(self) -> None:
        """Ends with a backward and a step, perhaps, and chooses what is given back."""
        from fuzz_layers import backward

        p = self.program
        leaves = [i.name for i in p.inputs if i.role == "w"]
        if leaves and self.chance(0.7):
            self.take(backward)
        if p.optimizer:
            p.lines.append("opt.step()")
            p.lines.append(self.one(("opt.zero_grad()", "opt.zero_grad(set_to_none=False)")))
            p.kinds.add("optimizer")
            if self.chance(0.3):
                p.lines.append("opt.param_groups[0]['lr'] *= 0.9")
        made = [n for n in self.tensors if n.startswith("v")]
        text = p.lines
        last = [n for n in made if not any(n in line for line in text[self.at(n) + 1 :])]
        some = [n for n in made if n not in last and self.chance(0.12)]
        p.returns = [n for n in (*some, *last) if n in self.tensors]
        p.reads = tuple(k for k in range(p.iterations) if self.chance(0.5))
        p.keeps = self.chance(0.6)

    def at(self, name: str) -> int:
        for k, line in enumerate(self.program.lines):
            if (
                line.startswith((f"{name} =", f"{name},"))
                or f", {name} =" in line
                or f" {name} = " in line
            ):
                return k
        return 0


def generate(seed: int) -> FuzzProgram:
    """The program of a seed."""
    return Generator(seed).draw()
