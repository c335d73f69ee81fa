# `make demo` trains on real digits; `make test` runs everything CI runs. Both need only Python >= 3.11
# and a package registry: they make $(VENV), install into it once, and reuse it.

VENV ?= .venv
WORKERS ?= 2
PYTEST_ARGS ?=
PIP_ARGS ?=
# The others look for faults (`fuzz`, `mutations`, `kill`).
BENCHMARKS ?= training record trainer gemm convolution operators others lengths

ifeq ($(OS),Windows_NT)
  BIN := $(VENV)/Scripts
  PYTHON ?= py -3
else
  BIN := $(VENV)/bin
  # The first interpreter on the path that runs and is new enough (a shim may exist and refuse).
  ifeq ($(origin PYTHON),undefined)
    PYTHON := $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
      "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)
  endif
endif

PY := $(BIN)/python
# One thread a process: the tests run in parallel, and numbers must not depend on it.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1

.PHONY: demo test pytest lint format types bench clean help
.DEFAULT_GOAL := help
.NOTPARALLEL:

help:
	@echo "make demo    train a small network on handwritten digits"
	@echo "make test    lint, types and all tests"
	@echo "make lint    ruff and mypy only"
	@echo "make bench   the benchmarks, beside PyTorch"
	@echo "make clean   remove $(VENV) and caches"

$(VENV)/pyvenv.cfg:
	$(if $(strip $(PYTHON)),,$(error Flambeau needs Python 3.11 or newer: set PYTHON=/path/to/python))
	$(PYTHON) -m venv $(VENV)

# An editable install is not compiled by pip: its first import would be.
# A stamp is older than pyproject.toml exactly when what must be installed may have changed.
$(VENV)/.flambeau-train: pyproject.toml | $(VENV)/pyvenv.cfg
	$(PY) -m pip install --quiet $(PIP_ARGS) -e ".[train]"
	$(PY) -m compileall -q src/flambeau
	$(PY) -c "open('$@', 'w').close()"

$(VENV)/.flambeau-dev: pyproject.toml | $(VENV)/pyvenv.cfg
	$(PY) -m pip install --quiet $(PIP_ARGS) -e ".[dev]"
	$(PY) -m compileall -q src/flambeau
	$(PY) -c "open('$@', 'w').close()"

demo: $(VENV)/.flambeau-train
	$(PY) -m flambeau train digits --out runs/digits.pt

# Tests first: a slip of style must not hide what they say.
test: pytest lint

pytest: $(VENV)/.flambeau-dev
	$(PY) -m pytest -n $(WORKERS) -q $(PYTEST_ARGS)

lint: $(VENV)/.flambeau-dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

format: $(VENV)/.flambeau-dev
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

types: $(VENV)/.flambeau-dev
	$(PY) -m mypy

bench: $(VENV)/.flambeau-dev
	$(PY) -c "import subprocess, sys; [subprocess.run([sys.executable, f'benchmarks/{name}.py'], check=True) for name in '$(BENCHMARKS)'.split()]"

clean:
	$(if $(PYTHON),$(PYTHON),python3) -c "import shutil; [shutil.rmtree(p, ignore_errors=True) for p in ('$(VENV)', '.pytest_cache', '.mypy_cache', '.ruff_cache', '.hypothesis', 'build', 'dist')]"
