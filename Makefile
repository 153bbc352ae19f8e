# The developer's verbs. Each sets up what it needs: a virtual environment of its own, from the lock file.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LOCK_COMMAND = uv pip compile --universal --generate-hashes --no-emit-index-url --no-annotate --no-header \
	--python-version 3.11 --extra sandbox --extra dev pyproject.toml -o requirements.lock

.DEFAULT_GOAL := help
.PHONY: help demo test test-full test-slow test-pythons check bench docs lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11") if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY) ## an incident staged in the sandbox, rolled back by the real command, verified, and undone
	@$(BIN)/python -m sandbox demo

check: $(READY) ## style, types and layering
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m docs.generate --check

test: $(READY) check ## what every commit passes; minutes
	$(BIN)/pytest -n 2 --dist loadfile -m "not slow"

test-full: test test-slow test-pythons ## everything: failure matrices, every Python found

test-slow: $(READY) ## the failure matrices alone; a quarter of an hour and more
	$(BIN)/pytest -n 2 --dist loadfile -m slow

test-pythons: $(READY) ## the quick tests on every other supported Python that is found
	$(BIN)/python tests/pythons.py

bench: $(READY) ## figures against bounds, measured side by side
	$(BIN)/python -m benchmarks

docs: $(READY) ## the reference pages that are made from the code
	$(BIN)/python -m docs.generate

lock: ## resolve the dependencies again (needs uv)
	$(LOCK_COMMAND) --upgrade

clean: ## remove what make made
	rm -rf $(VENV) .venv-* build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
