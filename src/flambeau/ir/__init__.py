"""Primitives: what the compiler knows, each declared once with its rule, reference and gradient."""

from flambeau.ir import binary, indexing, pointwise, products, reduction, shape

__all__ = ["binary", "indexing", "pointwise", "products", "reduction", "shape"]
