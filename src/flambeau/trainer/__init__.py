"""Training loops: the example behind ``flambeau train``."""
