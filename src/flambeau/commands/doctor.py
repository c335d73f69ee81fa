"""``flambeau doctor``: what a report of a fault needs to say about the machine."""

from __future__ import annotations

import argparse

__all__ = ["main"]


def main(arguments: list[str]) -> int:
    """Prints versions, processor, threads, caches and extras."""
    parser = argparse.ArgumentParser(
        prog="flambeau doctor", description="Prints versions, processor, threads, extras."
    )
    parser.parse_args(arguments)
    from flambeau.doctor import report

    print(report())
    return 0
