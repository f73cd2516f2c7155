# Everything a developer runs. `make setup` is the only thing that installs; the others call it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP_ARGS ?=
KILLS ?= 10
FUZZ ?= 60

.PHONY: setup demo test kills fuzz screenshots check format lock benchmarks clean

setup: $(STAMP)

# --no-deps: the lock is the whole closure, so what is installed is what was tested.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Paretrack needs Python 3.11 or newer; say make setup PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-deps $(PIP_ARGS) -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation $(PIP_ARGS) -e .
	$(BIN)/python -m pip check
	@touch $@

demo: setup
	$(BIN)/paretrack demo

test: setup
	@tests/programs.sh
	$(BIN)/pytest -q -n 2 -m "not benchmark and not long"

# Whatever a search needs, killed at random moments, KILLS times each; ends with a table.
kills: setup
	KILLS=$(KILLS) $(BIN)/pytest -q tests/kills

# Requests that nobody would write, FUZZ of them for each operation, phase and role.
fuzz: setup
	FUZZ=$(FUZZ) $(BIN)/pytest -q -s tests/service/test_api_fuzzed.py

# Every page, light and dark, wide and on a phone; docs/pictures/ is made of them.
screenshots: setup
	$(BIN)/python -m tests.browser.screenshots

benchmarks: setup
	$(BIN)/pytest -q -s -m benchmark tests/benchmarks

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tests/file_names.py

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Resolve anew from pyproject.toml; torch stays pinned because a newer one brings another toolkit.
lock: setup
	$(BIN)/pip-compile --quiet --strip-extras --no-emit-index-url --no-emit-find-links \
	  --no-header --allow-unsafe --extra dev --output-file requirements.lock pyproject.toml
	sed -i "s/^torch==\([0-9.]*\)+cpu/torch==\1/" requirements.lock

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
