PYTHON ?= python3
BIN := .venv/bin

.PHONY: help install demo docs test test-slow bench lint clean
help:  ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

install: .venv/.installed  ## virtual environment in .venv with the tested versions, headstart editable
.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "headstart needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: install  ## three strategies x three seeds on real digits, then the comparison (under 3 minutes on 2 cores)
	$(BIN)/headstart train -m experiment=demo
	$(BIN)/headstart compare demo

test: install  ## every test that is not slow
	$(BIN)/python -m pytest -n 2 --dist worksteal -m 'not slow and not gpu'

test-slow: install  ## the slow tests; those that race W&B's process come alone
	$(BIN)/python -m pytest -n 2 --dist worksteal -m 'slow and not gpu' --ignore tests/tracking/test_wandb_run.py
	$(BIN)/python -m pytest -m 'slow and not gpu' tests/tracking/test_wandb_run.py

bench: install  ## measured ratios against other tools (installs them into .venv first)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,bench]'
	$(BIN)/python -m benchmarks

docs: install  ## the documentation, to site/; a broken link is an error
	$(BIN)/python docs/generate.py build/docs
	$(BIN)/zensical build --clean --strict

lint: install  ## ruff, mypy, and the order of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:  ## remove the virtual environment and caches, never outputs/
	rm -rf .venv .pytest_cache .ruff_cache .mypy_cache .cache build dist site
