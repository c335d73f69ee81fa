"""``torch.utils.collect_env``: what this installation and machine are, for a report."""

from __future__ import annotations

from flambeau.doctor import report

__all__ = ["get_pretty_env_info", "main"]


def get_pretty_env_info() -> str:
    """What ``flambeau doctor`` prints: versions, processor, threads, caches, extras."""
    return report()


def main() -> None:
    """Prints it."""
    print("Collecting environment information...")
    print(get_pretty_env_info())


if __name__ == "__main__":
    main()
