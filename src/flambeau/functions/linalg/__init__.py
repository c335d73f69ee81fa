"""Linear algebra: the functions of ``flambeau.linalg``."""
