# Everything here sets itself up: `make demo` and `make test` need only Python 3.11 or newer and make.
PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin/python
# One worker a core; tests that start training runs of their own spend most of their time waiting.
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo test lint types unit slow results format clean

help:                        ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/: .*## /\t/; s/:  *## /\t/' | expand -t 12

# The stamp is newer than what it was installed from, so a second call installs nothing.
$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed, \
	$(PYTHON) is " + sys.version.split()[0] + "; set PYTHON=/path/to/python")'
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[experiments,dev]'
	@touch $@

demo: $(VENV)/installed      ## train six methods on real digits with 40 % wrong labels; a table and a picture
	@rm -rf runs/demo
	$(RUN) -m experiments compare --noise symmetric --noise-rate 0.4 --seeds 3 --run-dir runs/demo

test: lint types unit        ## lint, types, unit tests and doctests

lint: $(VENV)/installed      ## ruff
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

types: $(VENV)/installed     ## mypy
	$(RUN) -m mypy

unit: $(VENV)/installed      ## unit tests and doctests, a few minutes
	$(RUN) -m pytest -n $(WORKERS)

slow: $(VENV)/installed      ## the tests that take minutes each
	$(RUN) -m pytest -m slow

CELLS := none symmetric-0.2 symmetric-0.4 symmetric-0.6 pair-0.3
METHODS := cross_entropy mean_absolute_error generalized_cross_entropy phuber_cross_entropy \
  phuber_cross_entropy:tau=2 phuber_generalized_cross_entropy

results: $(VENV)/installed   ## measure experiments/results anew, ten minutes
	@set -e; for cell in $(CELLS); do \
	  noise=$${cell%-*}; rate=; [ $$noise = none ] || rate="--noise-rate $${cell#*-}"; \
	  $(RUN) -m experiments compare --methods $(METHODS) --seeds 10 --run-dir runs/results/$$cell \
	    --noise $$noise $$rate; \
	done
	$(RUN) -m experiments compare --noise symmetric --noise-rate 0.4 --seeds 30 --first-seed 100 \
	  --methods cross_entropy phuber_cross_entropy mean_absolute_error --run-dir runs/results/symmetric-0.4-30-seeds
	@# Last, so that what is measured runs on code without uncommitted changes.
	@for cell in $(CELLS) symmetric-0.4-30-seeds; do \
	  cp runs/results/$$cell/summary.json experiments/results/digits/$$cell.json; done
	@cp runs/results/symmetric-0.4/comparison.png docs/digits-symmetric-0.4.png
	$(RUN) -m experiments tables

format: $(VENV)/installed    ## rewrite the code in the house style
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

clean:                       ## remove the environment, caches and runs
	rm -rf $(VENV) runs build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
