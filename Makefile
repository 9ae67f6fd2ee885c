# Everything here sets itself up: `make demo` and `make test` need only Python 3.11 or newer and make.
PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin/python
# The newest versions that all of this has been tried with, jax 0.10 with Python 3.11 and jax 0.12 with later
# ones; constraints-oldest.txt has the oldest.
CONSTRAINTS ?= constraints.txt
# One worker a core; neighbours, which share what they compile, stay with one of them.
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help install demo test lint types unit slow browser fuzz mutations versions bench rehearse docs results format clean

help:                        ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/: .*## /\t/; s/:  *## /\t/' | expand -t 12

# The stamp is newer than what it was installed from, the version included, so a second call installs nothing.
$(VENV)/installed: pyproject.toml $(CONSTRAINTS) noisy_optax/__init__.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed, \
	$(PYTHON) is " + sys.version.split()[0] + "; set PYTHON=/path/to/python")'
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) -e '.[experiments,dev]'
	@touch $@

install: $(VENV)/installed   ## the virtual environment, a minute; then: . .venv/bin/activate

demo: $(VENV)/installed      ## train ten methods on real digits with 40 % wrong labels; a table and a picture
	@rm -rf runs/demo
	$(RUN) -m experiments compare --noise symmetric --noise-rate 0.4 --seeds 3 --run-dir runs/demo

test: lint types unit        ## lint, types, unit tests and doctests

lint: $(VENV)/installed      ## ruff
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

types: $(VENV)/installed     ## mypy
	$(RUN) -m mypy

unit: $(VENV)/installed      ## unit tests and doctests, ten minutes
	$(RUN) -m pytest -n $(WORKERS) --dist worksteal

slow: $(VENV)/installed      ## the tests that take many seconds each
	$(RUN) -m pytest -m "slow and not browser"

browser: $(VENV)/installed   ## the page of `review` in Debian's chromium, where that is installed
	@command -v chromium > /dev/null || { echo "skipped: chromium is not installed (apt install chromium)"; exit 0; }; \
	$(RUN) -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) -e '.[browser]' && \
	$(RUN) -m pytest -m browser tests/browser

FUZZ_SECONDS ?= 600
fuzz: $(VENV)/installed      ## the property tests on ever new examples, until FUZZ_SECONDS have passed
	@export FUZZ_UNTIL=$$(( $$(date +%s) + $(FUZZ_SECONDS) )); while [ $$(date +%s) -lt $$FUZZ_UNTIL ]; do \
	  $(RUN) -m pytest -q -n $(WORKERS) -m hypothesis --hypothesis-profile fuzz || exit 1; done

mutations: $(VENV)/installed ## break the project on purpose, in many ways, and see whether the tests notice
	$(RUN) -m tests.mutations --workers $(WORKERS) --write

NEWEST_PYTHON ?= python3.13
versions:                    ## the suite with the oldest and the newest versions, half an hour
	@$(MAKE) install VENV=.venv-oldest CONSTRAINTS=constraints-oldest.txt PYTHON=python3.11
	@$(MAKE) install VENV=.venv-newest PYTHON=$(NEWEST_PYTHON)
	.venv-oldest/bin/python -m tests.versions .venv-oldest .venv-newest --workers $(WORKERS)

bench: $(VENV)/installed     ## measure speed, memory and start-up, and compare with the last time
	@mkdir -p runs
	$(RUN) -m experiments.studies bench all --output runs/bench.json --history experiments/results/bench/history.jsonl
	@cp runs/bench.json experiments/results/bench/all.json
	$(RUN) -m experiments.studies pages

rehearse: $(VENV)/installed  ## the script for a GPU at toy size on this machine: killed, resumed, ended in time
	$(RUN) -m experiments.studies.gpu.rehearse

docs: $(VENV)/installed      ## the pages of documentation, in site/
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict

results: $(VENV)/installed   ## measure experiments/results anew, four hours
	$(RUN) -m experiments.studies results

format: $(VENV)/installed    ## rewrite the code in the house style
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

clean:                       ## remove the environment, caches and runs
	rm -rf $(VENV) runs build dist site .pytest_cache .jax_cache .mypy_cache .ruff_cache .hypothesis
