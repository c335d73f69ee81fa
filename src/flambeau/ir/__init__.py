"""Primitives: what the compiler knows, each declared once with its rule, reference and gradient."""

from flambeau.ir import indexing, pointwise, products, reduction, shape

__all__ = ["indexing", "pointwise", "products", "reduction", "shape"]
