# Everything runs in a virtual environment of its own, made from pyproject.toml.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.installed

.PHONY: help demo test crashes chaos bench lint completions man commands docs clean

help: ## Show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -e 's/:.*## /\t/' | expand -t 14

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "hfcal needs Python 3.11 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

demo: $(STAMP) ## Show the whole cycle against the embedded simulator
	$(BIN)/hfcal demo

test: $(STAMP) ## Run the tests
	$(BIN)/python -m pytest -n 6 --dist worksteal

crashes: $(STAMP) ## Kill each command at each of its steps, and fail the disk there
	$(BIN)/python -m pytest -n 4 --dist worksteal -m exhaustive

chaos: $(STAMP) ## Kill, drop and delay at random for a while, then check every promise
	$(BIN)/python -m tests.chaos $(CHAOS)

bench: $(STAMP) ## Measure what hfcal costs, as ratios (BENCH="--watch 600" for a watch too)
	$(BIN)/python -m tests.bench $(BENCH)

lint: $(STAMP) ## Check style, types and structure
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

completions: $(STAMP) ## Write completions/ again from the app
	$(BIN)/python tools/completions.py

man: $(STAMP) ## Write man/hfcal.1 again from the app
	$(BIN)/python tools/manpage.py

commands: $(STAMP) ## Write docs/commands.md again from the app
	$(BIN)/python tools/commanddocs.py

docs: $(STAMP) ## Build the docs as a site, build/site
	$(BIN)/mkdocs build --strict

clean: ## Remove what the other targets made
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
