"""The faults that ``mutations.py`` plants in the compiler, by file."""

from __future__ import annotations

from typing import NamedTuple


class Fault(NamedTuple):
    """``old`` becomes ``new`` in a file of ``run``, or in the only other one that has it.

    ``test`` is the file of tests that is to find what is beneath the fuzzer's tolerance.
    """

    file: str
    what: str
    old: str
    new: str
    test: str = ""


FAULTS = [
    Fault(
        "compiler/nest.py",
        "neutral element of products",
        '== "prod":\n            value = 1',
        '== "prod":\n            value = 0',
    ),
    Fault(
        "compiler/nest.py",
        "neutral element of float maxima",
        "value = -math.inf if",
        "value = 0.0 if",
    ),
    Fault(
        "compiler/nest.py", "neutral element of integer maxima", "value = low if", "value = 0 if"
    ),
    Fault(
        "compiler/nest.py",
        "no mask in a reduction's tail",
        "if mask is not None and self.row_mode:",
        "if False:",
    ),
    Fault("compiler/nest.py", "tail of one element dropped", "if n > whole:", "if n > whole + 1:"),
    Fault(
        "compiler/nest.py",
        "tail of one axis off by one",
        '"icmp sgt i64 {left}, 0"',
        '"icmp sgt i64 {left}, 1"',
    ),
    Fault(
        "compiler/nest.py",
        "first vector skipped",
        'if whole > self.lanes:\n            current = steps("0"',
        "if whole > self.lanes:\n            current = steps(str(self.lanes)",
    ),
    Fault(
        "compiler/nest.py",
        "half of the lanes not combined",
        "half = self.lanes // 2\n        while half",
        "half = self.lanes // 4\n        while half",
    ),
    Fault(
        "compiler/nest_memory.py", "strides of gathers ignored", 'f"i64 {i * stride}"', 'f"i64 {i}"'
    ),
    Fault(
        "compiler/nest.py",
        "places of outer axes",
        'rest = f.value(f"udiv i64 {rest}, {n}")',
        'rest = f.value(f"udiv i64 {rest}, {max(1, n - 1)}")',
    ),
    Fault(
        "compiler/nest_plan.py",
        "axes joined that do not follow",
        "if all(a.strides[last] == a.strides[d] * n for a in raw):",
        "if True:",
    ),
    Fault(
        "compiler/nest_memory.py",
        "run-time places dropped",
        "for slot, step in access.moving:",
        "for slot, step in ():",
    ),
    Fault(
        "compiler/nest.py",
        "outer sums forgotten",
        "k: self.combine(k, c, part[k]) for",
        "k: part[k] for",
    ),
    Fault(
        "compiler/nest_plan.py",
        "kernels shared whatever their literals",
        '("literal", repr(o.value), o.value.__class__.__name__)',
        '("literal",)',
    ),
    Fault(
        "compiler/nest_plan.py",
        "kernels shared whatever their strides",
        "name((a.slot, a.offset)), a.strides,",
        "name((a.slot, a.offset)),",
    ),
    Fault(
        "compiler/nest_values.py",
        "float16 not rounded",
        'in its register again."""\n    if el.memory == "half"',
        'in its register again."""\n    if el.memory == "no"',
        "test_sixteen_bits.py",
    ),
    Fault(
        "compiler/nest.py",
        "faults not noted",
        'f.store("i64", "1", self.bases[FAULT, 0], 8)',
        "pass",
    ),
    Fault(
        "compiler/pointwise.py",
        "operands of sub swapped",
        "return e.op(float_op, el, *xs)",
        'return e.op(float_op, el, *(xs[::-1] if name == "sub" else xs))',
    ),
    Fault(
        "compiler/pointwise.py",
        "NaN lost in maximum",
        'return e.select(e.compare("uno", el, x, x), x, best, el.register)',
        "return best",
        "test_compiler_pointwise.py",
    ),
    Fault(
        "compiler/pointwise.py",
        "NaN lost in relu",
        'e.select(e.compare("olt", el, xs[0], zero), zero, xs[0], el.register)',
        'e.select(e.compare("ogt", el, xs[0], zero), xs[0], zero, el.register)',
    ),
    Fault(
        "compiler/pointwise.py",
        "gate open at zero",
        'e.compare("ole", el, xs[1], zero)',
        'e.compare("olt", el, xs[1], zero)',
    ),
    Fault(
        "compiler/pointwise.py",
        "unsigned widened with its sign",
        "{'zext' if source.kind == 'u' else 'sext'}",
        "{'sext'}",
        "test_compiler_pointwise.py",
    ),
    Fault(
        "compiler/pointwise.py",
        "true is minus one",
        "{'uitofp' if target.kind == 'f' else 'zext'}",
        "{'sitofp' if target.kind == 'f' else 'zext'}",
    ),
    Fault(
        "compiler/pointwise.py",
        "unsigned compared with its sign",
        'core = ("s" if el.kind == "i" else "u") + name[1:]',
        'core = "s" + name[1:]',
    ),
    Fault(
        "compiler/pointwise.py",
        "cube is a square",
        'return e.op("fmul", el, e.op("fmul", el, xs[0], xs[0]), xs[0])',
        'return e.op("fmul", el, xs[0], xs[0])',
        "test_compiler_pointwise.py",
    ),
    Fault("compiler/pointwise.py", "unequal NaN counts as equal", '"ne": "une"', '"ne": "one"'),
    Fault(
        "compiler/views.py",
        "start of a flip",
        "offset += (self.shape[d] - 1) * strides[d]",
        "offset += (self.shape[d] - 2) * strides[d]",
    ),
    Fault(
        "compiler/views.py",
        "steps of slices",
        "strides[d] *= step",
        "strides[d] *= 1",
        "test_compiler_parts.py",
    ),
    Fault(
        "compiler/views.py", "starts of slices", "offset += start * strides[d]", "offset += start"
    ),
    Fault(
        "compiler/views.py",
        "strides in a reshape",
        "merged[-1][1] == n * s:",
        "merged[-1][1] >= s:",
    ),
    Fault(
        "compiler/views.py",
        "reshape cuts the wrong way",
        "strides.append(step * room)",
        "strides.append(step)",
    ),
    Fault(
        "compiler/views.py", "size-1 dimensions not repeated", "0 if n == 1 and m != 1 else s", "s"
    ),
    Fault(
        "compiler/lower.py",
        "offset of a dense view",
        "View(shape, row_major(shape), view.offset))",
        "View(shape, row_major(shape), 0))",
        "test_compiler_parts.py",
    ),
    Fault(
        "compiler/lower.py",
        "a moving view taken for dense",
        "if view.moving or view._replace(",
        "if view._replace(",
    ),
    Fault(
        "compiler/lower.py",
        "power of three halves",
        "(2, 0.5, -0.5, 1, -1, 3)",
        "(2, 0.5, -0.5, 1, -1, 3, -1.5)",
    ),
    Fault(
        "compiler/rules.py",
        "a part written before the filling",
        "low.nodes[-1].after = (slot,)",
        "pass",
    ),
    Fault(
        "compiler/rules.py",
        "places in a concatenation",
        "        start += n\n    return Ref(slot, whole)",
        "        start += max(1, n - 1)\n    return Ref(slot, whole)",
    ),
    Fault(
        "compiler/rules.py",
        "gradient of a slice not zero elsewhere",
        "slot = _filled(low, out.shape, Literal(0), el)",
        "slot = _filled(low, out.shape, Literal(1), el)",
    ),
    Fault(
        "compiler/rules.py",
        "padding before ignored",
        "tuple([max(lo, 0) for lo, _ in pads])",
        "tuple([0 for lo, _ in pads])",
    ),
    Fault(
        "compiler/rules.py",
        "cropping ignored",
        "tuple([max(-lo, 0) for lo, _ in pads])",
        "tuple([0 for lo, _ in pads])",
        "test_compiler_parts.py",
    ),
    Fault(
        "compiler/rules.py",
        "a view's write forgets its base",
        'copy = low.map("copy", [base], out.shape, el)',
        'copy = low.map("copy", [Literal(0)], out.shape, el)',
    ),
    Fault(
        "compiler/rules.py",
        "gradient of softmax",
        'r.do("mul", y, r.total("sum", product))',
        'r.total("sum", product)',
    ),
    Fault(
        "compiler/rules.py",
        "gradient of a normalisation",
        'r.do("add", r.do("mul", y, slope), mean)',
        "mean",
    ),
    Fault(
        "compiler/rules_classes.py",
        "ignored targets counted",
        'self.kept = self.choose("ne", self.target, self.ignore)',
        'self.kept = self.choose("ne", self.target, Literal(-100))',
        "test_compiler_selection.py",
    ),
    Fault(
        "compiler/rules_classes.py",
        "targets not checked",
        'low.guard(low.map("and", [outside, self.kept], rows, self.truth))',
        "pass",
    ),
    Fault(
        "compiler/rules.py",
        "any and all exchanged",
        'name = "amax" if name == "any" else "amin"',
        'name = "amin" if name == "any" else "amax"',
    ),
    Fault(
        "compiler/rules.py",
        "offset of a product's operand",
        "*view.strides[-2:]), view.offset)",
        "*view.strides[-2:]), 0)",
        "test_compiler_parts.py",
    ),
    Fault(
        "compiler/rules_classes.py",
        "mean of a loss not divided",
        'total = low.map("div", [total, c.count()], (), c.el)',
        "pass",
    ),
    Fault(
        "compiler/fuse.py",
        "groups merged around a third",
        "if g is not one and g is not other",
        "if False",
    ),
    Fault(
        "compiler/fuse.py",
        "joins that wait for themselves",
        "return any(i != group.index and self.groups[i].deps & bit for i in self.reads(node))",
        "return False",
    ),
    Fault(
        "compiler/fuse.py",
        "strides of views in a group",
        "n == 1 or s == t",
        "True",
        "test_compiler_parts.py",
    ),
    Fault(
        "compiler/fuse.py",
        "other dimensions reduced together",
        "if into.dims is not None and other.dims is not None and into.dims != other.dims:",
        "if False:",
        "test_compiler_parts.py",
    ),
    Fault(
        "compiler/fuse.py",
        "dependencies one step deep",
        "new |= (1 << i) | self.groups[i].deps",
        "new |= 1 << i",
        "test_compiler_fusion.py",
    ),
    Fault(
        "compiler/fuse.py",
        "order of writes to one buffer lost",
        "for slot in node.after:\n            yield from self.writers.get(slot, ())",
        "for slot in ():\n            yield from self.writers.get(slot, ())",
    ),
    Fault(
        "compiler/fuse.py",
        "parts read in the group that writes them",
        "            elif o.slot in group.slots:\n                break",
        "            elif False:\n                break",
        "test_compiler_parts.py",
    ),
    Fault(
        "compiler/memory.py",
        "lives that touch",
        "(lasts[:n] >= first) & (firsts[:n] <= last)",
        "(lasts[:n] > first) & (firsts[:n] < last)",
    ),
    Fault(
        "compiler/memory.py",
        "no lives at all",
        "(lasts[:n] >= first) & (firsts[:n] <= last)",
        "firsts[:n] == first",
    ),
    Fault(
        "compiler/draft.py",
        "writes in place while others read",
        "at < step or (g is group",
        "True or (g is group",
        "test_compiler_fusion.py",
    ),
    Fault(
        "compiler/draft.py",
        "writes in place at other places",
        "if not group.level[id(node)] or not view.is_whole(math.prod(group.space)):",
        "if False:",
        "test_compiler_fusion.py",
    ),
    Fault(
        "compiler/memory.py",
        "memory used again while held",
        "elif tuple(map(getrefcount, found)) != self.free:",
        "elif False:",
    ),
    Fault("compiler/draft.py", "two outputs in one memory", "and value.slot not in taken", ""),
    Fault(
        "compiler/draft.py",
        "a view handed out for its base",
        "and value.view.is_whole(low.buffers[value.slot].size)",
        "",
    ),
    Fault(
        "program.py",
        "places that changed",
        "if fixed is not None and native is not None and fixed[0](numbers) != fixed[1]:",
        "if False:",
        "test_compiler_parts.py",
    ),
    Fault(
        "program.py",
        "code for places that changed since",
        "self.fixed = self.ticket = None\n            self.visits = 0\n            return",
        "self.fixed = None",
        "test_compiler_parts.py",
    ),
    Fault(
        "compiler/passes.py",
        "overlapping slices joined",
        "if reached <= start:",
        "if True:",
        "test_compiler_fusion.py",
    ),
    Fault(
        "compiler/passes.py",
        "slices with steps joined",
        'if e.attrs["steps"] != (1,) or start.__class__',
        "if start.__class__",
        "test_compiler_parts.py",
    ),
    Fault("compiler/gemm_dot.py", "remainder of k", "if self.final > self.whole", "if False"),
    Fault(
        "compiler/gemm_dot.py",
        "lanes of the remainder of k",
        "mask = static_mask(t.lanes, self.final - self.whole)",
        "mask = static_mask(t.lanes, max(1, self.final - self.whole - 1))",
    ),
    Fault(
        "compiler/gemm_tiles.py",
        "the last panel",
        "if self.rest:",
        "if self.rest > 1:",
        "test_compiler_gemm.py",
    ),
    Fault(
        "compiler/gemm_store.py",
        "blocks of k not added",
        'return f.value(f"fadd {self.type} {before}, {value}")',
        "return value",
        "test_compiler_gemm.py",
    ),
    Fault(
        "compiler/convolution_blocks.py",
        "padding of convolutions",
        '[low for low, _ in how["padding"]]',
        '[max(0, low - 1) for low, _ in how["padding"]]',
    ),
    Fault(
        "compiler/pooling.py",
        "NaN in pooling",
        'win = f.value(f"or <{count} x i1> {more}, {nan}")',
        "win = more",
        "test_compiler_convolution.py",
    ),
    Fault(
        "compiler/pooling.py",
        "windows that share a place",
        'if not attrs["disjoint"]:',
        "if False:",
    ),
    Fault(
        "compiler/pooling_means.py",
        "padding counted",
        "if self.with_padding:\n            stop",
        "if True:\n            stop",
    ),
    Fault(
        "compiler/tables.py",
        "rows of padding learn",
        "if padding is not None:\n                other",
        "if False:\n                other",
        "test_compiler_places.py",
    ),
    Fault(
        "compiler/tables.py",
        "repeated rows overwrite",
        'total = f.value(f"fadd {ty} {old}, {x}")',
        "total = x",
    ),
    Fault(
        "compiler/tables.py",
        "indices not checked",
        'return row, f.value(f"icmp ult i64 {row}, {rows}")',
        'return row, f.value(f"icmp ult i64 {row}, {rows + 1}")',
    ),
]
