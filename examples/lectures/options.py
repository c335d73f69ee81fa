"""The command line that the lecture programs share."""

import argparse


def parse(description, steps, **extra):
    """Reads ``--steps`` and further options, given as name=(default, help)."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--steps", type=int, default=steps, help="how many steps to train")
    for name, (default, text) in extra.items():
        parser.add_argument(f"--{name}", type=type(default), default=default, help=text)
    return parser.parse_args()
