"""Reports of runs: one HTML page with curves, mistakes, filters, layers and environment."""

from __future__ import annotations

from flambeau.trainer.report.page import page, write_report
from flambeau.trainer.report.reading import NoRunError, RunFiles, read_run

__all__ = ["NoRunError", "RunFiles", "page", "read_run", "write_report"]
