# Everything runs in a virtual environment of its own, made from pyproject.toml.
PYTHON ?= python3
VENV ?= .venv
EXTRA ?= dev
BIN = $(VENV)/bin
STAMP = $(VENV)/.installed

# One place says which Pythons hfcal runs on: the classifiers.
PYTHONS = $(shell sed -n 's/.*Python :: \(3\.[0-9]*\)".*/\1/p' pyproject.toml)
PYTEST = $(BIN)/python -m pytest -n 6 --dist worksteal

.PHONY: help demo test units test-all test-wheel coverage crashes chaos bench nightly lint current
.PHONY: completions man commands docs dist clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -e 's/:.*## /\t/' | expand -t 14

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "hfcal needs Python 3.11 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(EXTRA)]'
	touch $@

demo: $(STAMP) ## Show the whole cycle against the embedded simulator
	$(BIN)/hfcal demo $(DEMO)

test: $(STAMP) ## Run the tests
	$(PYTEST)

units: $(STAMP) ## Run the unit tests and the simulator's
	$(PYTEST) tests/unit tests/sim

test-all: ## Run the units and the demo on each Python that is here
	@tested=; for version in $(PYTHONS); do \
	  python=$$(tools/find-python $$version) || { echo "== Python $$version: not here, skipped"; continue; }; \
	  echo "== Python $$version: $$python"; tested=yes; \
	  $(MAKE) --no-print-directory PYTHON="$$python" VENV=.venv-$$version EXTRA=test units demo DEMO=--quiet || exit; \
	done; test "$$tested" || { echo "none of the Pythons $(PYTHONS) is here"; exit 1; }

test-wheel: $(STAMP) ## Build the wheel and run the tests against it
	tools/test-wheel $(BIN)/python

coverage: $(STAMP) ## Run the tests and measure what they reach
	rm -rf build/coverage && mkdir -p build/coverage
	$(PYTEST) --cov --cov-report=term:skip-covered

crashes: $(STAMP) ## Kill each command at each of its steps, and fail the disk there
	$(BIN)/python -m pytest -n 4 --dist worksteal -m exhaustive

chaos: $(STAMP) ## Kill, drop and delay at random for a while, then check every promise
	$(BIN)/python -m tests.chaos $(CHAOS)

bench: $(STAMP) ## Measure what hfcal costs, as ratios (BENCH="--watch 600" for a watch too)
	$(BIN)/python -m tests.bench $(BENCH)

nightly: $(STAMP) ## Run what takes too long for each change, an hour or so
	$(MAKE) crashes
	$(MAKE) chaos CHAOS="--rounds 20 --seconds 60"
	$(MAKE) bench BENCH="--watch 600"

lint: $(STAMP) ## Check style, types and structure
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

current: $(STAMP) ## Check that what is written from the app is current
	$(BIN)/python tools/completions.py --check
	$(BIN)/python tools/manpage.py --check
	$(BIN)/python tools/commanddocs.py --check

completions: $(STAMP) ## Write completions/ again from the app
	$(BIN)/python tools/completions.py

man: $(STAMP) ## Write man/hfcal.1 again from the app
	$(BIN)/python tools/manpage.py

commands: $(STAMP) ## Write docs/commands.md again from the app
	$(BIN)/python tools/commanddocs.py

docs: $(STAMP) ## Build the docs as a site, build/site
	$(BIN)/mkdocs build --strict

dist: $(STAMP) ## Build the sdist and the wheel of a release, dist
	$(BIN)/python -m build

clean: ## Remove what the other targets made
	rm -rf $(VENV) .venv-3.* build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
