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
.PHONY: help demo test lint types unit slow fuzz mutations bench rehearse docs results format clean

help:                        ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/: .*## /\t/; s/:  *## /\t/' | expand -t 12

# The stamp is newer than what it was installed from, the version included, so a second call installs nothing.
$(VENV)/installed: pyproject.toml $(CONSTRAINTS) noisy_optax/__init__.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed, \
	$(PYTHON) is " + sys.version.split()[0] + "; set PYTHON=/path/to/python")'
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) -e '.[experiments,dev]'
	@touch $@

demo: $(VENV)/installed      ## train ten methods on real digits with 40 % wrong labels; a table and a picture
	@rm -rf runs/demo
	$(RUN) -m experiments compare --noise symmetric --noise-rate 0.4 --seeds 3 --run-dir runs/demo

test: lint types unit        ## lint, types, unit tests and doctests

lint: $(VENV)/installed      ## ruff
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

types: $(VENV)/installed     ## mypy
	$(RUN) -m mypy

unit: $(VENV)/installed      ## unit tests and doctests, a few minutes
	$(RUN) -m pytest -n $(WORKERS) --dist worksteal

slow: $(VENV)/installed      ## the tests that take many seconds each
	$(RUN) -m pytest -m slow

FUZZ_SECONDS ?= 600
fuzz: $(VENV)/installed      ## the property tests on ever new examples, until FUZZ_SECONDS have passed
	@export FUZZ_UNTIL=$$(( $$(date +%s) + $(FUZZ_SECONDS) )); while [ $$(date +%s) -lt $$FUZZ_UNTIL ]; do \
	  $(RUN) -m pytest -q -n $(WORKERS) -m hypothesis --hypothesis-profile fuzz || exit 1; done

mutations: $(VENV)/installed ## break the library in forty ways and see whether the tests notice
	$(RUN) -m tests.mutations --workers $(WORKERS) --write

bench: $(VENV)/installed     ## measure speed, memory and start-up, and compare with the last time
	@mkdir -p runs
	$(RUN) -m experiments bench all --output runs/bench.json --history experiments/results/bench/history.jsonl
	@cp runs/bench.json experiments/results/bench/all.json
	$(RUN) -m experiments tables

rehearse: $(VENV)/installed  ## the script for a GPU at toy size on this machine: killed, resumed, ended in time
	$(RUN) -m experiments.studies.gpu.rehearse

docs: $(VENV)/installed      ## the pages of documentation, in site/
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict

CELLS := none symmetric-0.2 symmetric-0.4 symmetric-0.6 pair-0.3
# As the published OGC was run on digits, whose ring and period were scaled to the small data set.
SMALL_OGC := ogc:queue_size=1024,update_every=8
METHODS := cross_entropy mean_absolute_error generalized_cross_entropy phuber_cross_entropy \
  phuber_cross_entropy:tau=5 phuber_cross_entropy:tau=2 phuber_generalized_cross_entropy ogc \
  $(SMALL_OGC) $(SMALL_OGC),mode=published $(SMALL_OGC),base=generalized_cross_entropy \
  $(SMALL_OGC),base=generalized_cross_entropy,mode=published
# The cells of the comparison of the two modes, and the optimizers.
MODE_CELLS := none symmetric-0.4 pair-0.3
MODES := cross_entropy $(SMALL_OGC) $(SMALL_OGC),mode=published $(SMALL_OGC),base=focal \
  $(SMALL_OGC),base=focal,mode=published
# Without the norm clip, as the published SAM and SANER were run on digits.
SHARPNESS := cross_entropy cross_entropy+sam cross_entropy+saner:scale_epochs=25
# What came later, with the baselines it is compared with.
MORE := cross_entropy mean_absolute_error mae_logit_bias generalized_cross_entropy symmetric_cross_entropy dal
# The losses of the field that are left, with those they belong to.
OTHERS := cross_entropy generalized_cross_entropy dal dal:curve=cosine focal mean_squared_error \
  taylor_cross_entropy jensen_shannon bi_tempered bounded_cross_entropy asymmetric_generalized_cross_entropy \
  nce_rce nce_agce nce_nnce cross_entropy_with_sparse_regularization logit_clip_cross_entropy \
  eps_softmax_cross_entropy
noise_flags = --noise $(word 1,$(subst -, ,$(1))) $(addprefix --noise-rate ,$(word 2,$(subst -, ,$(1))))
measure = $(RUN) -m experiments compare --run-dir runs/results/$(1)

results: $(VENV)/installed   ## measure experiments/results anew, four hours
	$(foreach cell,$(CELLS),$(call measure,$(cell)) $(call noise_flags,$(cell)) \
	  --seeds 10 --methods $(METHODS) &&) true
	$(call measure,symmetric-0.4-30-seeds) $(call noise_flags,symmetric-0.4) --seeds 30 --first-seed 100 \
	  --methods cross_entropy phuber_cross_entropy mean_absolute_error
	$(foreach cell,$(MODE_CELLS),$(call measure,modes-sgd-$(cell)) $(call noise_flags,$(cell)) \
	  --seeds 10 --first-seed 100 --methods $(MODES) &&) true
	$(foreach cell,$(MODE_CELLS),$(call measure,modes-adamw-$(cell)) $(call noise_flags,$(cell)) \
	  --seeds 10 --first-seed 100 --optimizer adamw --learning-rate 0.001 --methods $(MODES) &&) true
	$(foreach cell,$(CELLS),$(call measure,sharpness-$(cell)) $(call noise_flags,$(cell)) \
	  --seeds 10 --gradient-norm-clip None --methods $(SHARPNESS) &&) true
	$(foreach cell,$(CELLS) instance-0.4,$(call measure,more-$(cell)) $(call noise_flags,$(cell)) \
	  --seeds 10 --methods $(MORE) &&) true
	$(foreach cell,none symmetric-0.4 instance-0.4,$(call measure,others-$(cell)) $(call noise_flags,$(cell)) \
	  --seeds 10 --methods $(OTHERS) &&) true
	$(call measure,sharpness-symmetric-0.4-30-seeds) $(call noise_flags,symmetric-0.4) --seeds 30 \
	  --first-seed 100 --gradient-norm-clip None --methods $(SHARPNESS)
	$(RUN) -m experiments regression --output runs/regression.json
	$(RUN) -m experiments claims
	$(RUN) -m experiments matrix
	for decay in 0.0005 0.002; do $(RUN) -m experiments matrix --methods elr --weight-decay $$decay \
	  --run-dir runs/elr-$$decay || exit 1; done
	$(RUN) -m experiments audit-benchmark --output runs/audit.json
	@# Last, so that what is measured runs on code without uncommitted changes.
	@for run in runs/results/*; do cp $$run/summary.json experiments/results/digits/$${run##*/}.json; done
	@cp runs/regression.json experiments/results
	@cp runs/matrix/matrix.json experiments/results/digits
	@for decay in 0.0005 0.002; do cp runs/elr-$$decay/matrix.json experiments/results/digits/elr-$$decay.json; done
	@cp runs/matrix/matrix.png docs
	@cp runs/audit.json experiments/results/audit/digits.json
	@cp runs/claims/*.json runs/claims/*.png experiments/results/claims
	@cp runs/results/symmetric-0.4/comparison.png docs/digits-symmetric-0.4.png
	$(RUN) -m experiments tables

format: $(VENV)/installed    ## rewrite the code in the house style
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

clean:                       ## remove the environment, caches and runs
	rm -rf $(VENV) runs build dist site .pytest_cache .jax_cache .mypy_cache .ruff_cache .hypothesis
