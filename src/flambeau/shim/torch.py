"""Stands for ``torch`` in spawned child processes of a program run under Flambeau.

``multiprocessing`` hands a spawned child the parent's ``sys.path``, on which this folder stands,
but not its import finders. The first ``import torch`` there comes here, and installs the finder.
"""

from flambeau.install import install

# `install` puts Flambeau itself in `sys.modules["torch"]`, which is what the import returns.
install()
