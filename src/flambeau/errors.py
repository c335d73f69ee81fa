"""The exceptions Flambeau raises: each is a subclass of the one PyTorch raises."""


class ShapeError(RuntimeError):
    """Shapes do not fit the operation."""


class DtypeError(RuntimeError):
    """Dtypes do not fit the operation."""


class GradientError(RuntimeError):
    """A wrong use of automatic differentiation."""


class LinAlgError(RuntimeError):
    """A matrix that an operation of linear algebra cannot take: singular, not positive definite."""


LinAlgError.__module__ = "torch.linalg"


class NotSupportedError(NotImplementedError):
    """A name or option that PyTorch has and Flambeau lacks; says where to look."""


class UnsafeFileError(Exception):
    """A file asks for code that loading must not run."""
