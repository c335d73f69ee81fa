"""The torch-like function library, by theme."""

# Modules whose functions are names of the package and, where it fits, methods of tensors.
MODULES = (
    "arithmetic",
    "views",
    "indexing",
    "creation",
    "random",
)
