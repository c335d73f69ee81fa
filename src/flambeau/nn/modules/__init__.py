"""The layers under PyTorch's paths: ``nn.modules.linear.Linear`` is ``nn.Linear``."""

import sys

from flambeau.nn.layers import alias_modules, exported

globals().update(exported())
__all__ = sorted(exported())
alias_modules(sys.modules[__name__])
