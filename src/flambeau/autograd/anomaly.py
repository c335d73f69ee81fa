"""Anomaly detection: names the forward line of a NaN in backward."""

from __future__ import annotations

_on = [False]


def is_anomaly_enabled() -> bool:
    """Whether anomalies are looked for."""
    return _on[0]


class set_detect_anomaly:
    """Has backward look for NaN and raise ``RuntimeError``; as a block, until its end.

    >>> with torch.autograd.set_detect_anomaly(True):
    ...     torch.is_anomaly_enabled()
    True
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self._before = _on[0]
        _on[0] = bool(mode) and check_nan

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        _on[0] = self._before


class detect_anomaly(set_detect_anomaly):
    """``set_detect_anomaly(True)`` for a block."""

    def __init__(self, check_nan: bool = True) -> None:
        self._check = check_nan

    def __enter__(self) -> None:
        set_detect_anomaly.__init__(self, True, self._check)
