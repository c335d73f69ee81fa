"""The torch-like function library, by theme."""

# Modules whose functions are names of the package and, where it fits, methods of tensors.
MODULES = (
    "arithmetic",
    "pointwise",
    "binary",
    "bitwise",
    "ternary",
    "special",
    "complex",
    "casting",
    "views",
    "indexing",
    "gathering",
    "masking",
    "creation",
    "exchange",
    "random",
)
