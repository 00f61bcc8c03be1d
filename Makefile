# Every target sets up what it needs in .venv. `make help` lists them.

PYTHON ?= python3
VENV ?= .venv
# TensorFlow Serving's newest release is of this TensorFlow, one behind ours.
OTHER_TENSORFLOW := 2.20
OTHER_VENV ?= $(VENV)-$(OTHER_TENSORFLOW)
# PyTorch and JAX, whose CUDA libraries are not TensorFlow's.
PEERS_VENV ?= $(VENV)-peers
PEERS := --peers_python=$(PEERS_VENV)/bin/python
ARGS ?=
RUN := $(VENV)/bin/python
# A process for each core; at most 4, because each imports TensorFlow. Files with slow tests start first
# (tests/conftest.py).
WORKERS := --numprocesses=$(shell nproc 2>/dev/null || echo 2) --maxprocesses=4 --dist=loadfile --no-loadscope-reorder
PYTEST := $(RUN) -m pytest $(WORKERS)
# CUDA's libraries (3 GB) only where an NVIDIA driver is present.
comma := ,
CUDA := $(if $(wildcard /dev/nvidiactl /usr/lib/wsl/lib/libcuda.so.1),$(comma)and-cuda)
INSTALL = $(RUN) -m pip install --disable-pip-version-check --constraint constraints.txt --editable

.DEFAULT_GOAL := help
.PHONY: help train export serve tensorboard test test-quick coverage compatibility lint bench bench-growth bench-generation bench-serving fuzz experiments clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /\1|/' | awk -F'|' '{printf "  make %-16s %s\n", $$1, $$2}'
	@echo '  ARGS="--flag=value ..." passes flags on, as in: make train ARGS="--corpus=my.txt --num_epochs=100"'

train: $(VENV)/installed  ## train (ARGS are flags of pipeline.train), then export what was trained
	@flags=$$(mktemp) && trap 'rm -f "$$flags"' EXIT INT TERM HUP && \
	  $(RUN) -m pipeline.train --export_flags="$$flags" $(ARGS) && \
	  if [ -s "$$flags" ]; then $(RUN) -m export.saved_model --flagfile="$$flags"; fi

export: $(VENV)/installed  ## write the newest run as a SavedModel (ARGS are flags of export.saved_model)
	$(RUN) -m export.saved_model $(ARGS)

serve: $(VENV)/installed  ## serve models/charrnn over REST and gRPC (ARGS are flags of export.serve)
	$(RUN) -m export.serve $(ARGS)

tensorboard: $(VENV)/installed  ## watch all runs in a browser
	$(VENV)/bin/tensorboard --logdir=runs $(ARGS)

test: $(VENV)/installed-dev  ## run all tests (ARGS are options of pytest)
	$(PYTEST) $(ARGS)

test-quick: $(VENV)/installed-dev  ## run the tests that take under a minute together
	$(PYTEST) -m "not slow" $(ARGS)

coverage: $(VENV)/installed-dev  ## run all tests, programs included, and report the branch coverage
	$(RUN) -m coverage erase
	$(RUN) -m coverage run -m pytest $(WORKERS) $(ARGS)
	$(RUN) -m coverage combine --quiet
	$(RUN) -m coverage report

compatibility: $(VENV)/installed-dev $(OTHER_VENV)/installed  ## ask the TensorFlow of TensorFlow Serving's newest release
	$(RUN) -m tests.export.artifact.compatibility --other=$(OTHER_VENV)/bin/python

lint: $(VENV)/installed-dev  ## check style and types
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

bench: $(VENV)/installed-experiments $(PEERS_VENV)/installed  ## training beside Keras, PyTorch and JAX, in turn (ARGS as --cases=rnn-256)
	$(RUN) -m benchmarks.training $(PEERS) $(ARGS)

bench-growth: $(VENV)/installed-experiments  ## training: how the time of an epoch grows with each size
	$(RUN) -m benchmarks.growth $(ARGS)

bench-generation: $(VENV)/installed $(PEERS_VENV)/installed  ## generation: characters a second beside PyTorch, in turn
	$(RUN) -m benchmarks.generation $(PEERS) $(ARGS)

bench-serving: $(VENV)/installed  ## the server under load, a reload and SIGTERM: answers compared, requests a second
	$(RUN) -m benchmarks.serving $(ARGS)

fuzz: $(VENV)/installed  ## the server and 2,000 broken requests (ARGS as --seed=2)
	$(RUN) -m benchmarks.fuzz $(ARGS)

experiments: $(VENV)/installed-experiments  ## train what docs/experiments.md has no log of, and write it (ARGS as --list)
	$(RUN) -m experiments.run $(ARGS)

clean:  ## remove the environments; runs/ and models/ stay
	rm -rf $(VENV) $(OTHER_VENV) $(PEERS_VENV) charrnn.egg-info

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else \
	  f"TensorFlow 2.21 runs on Python 3.11 to 3.13, not {v[0]}.{v[1]}: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(INSTALL) '.[serve$(CUDA)]'
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(INSTALL) '.[serve,dev$(CUDA)]'
	@touch $@

$(OTHER_VENV)/installed: $(VENV)/bin/python
	$(PYTHON) -m venv $(OTHER_VENV)
	$(OTHER_VENV)/bin/python -m pip install --disable-pip-version-check 'tensorflow==$(OTHER_TENSORFLOW).*'
	@touch $@

$(PEERS_VENV)/installed: $(VENV)/bin/python benchmarks/peers/requirements.txt
	$(PYTHON) -m venv $(PEERS_VENV)
	$(PEERS_VENV)/bin/python -m pip install --disable-pip-version-check --requirement benchmarks/peers/requirements.txt$(if $(CUDA), 'jax[cuda12]')
	@touch $@

$(VENV)/installed-experiments: $(VENV)/installed
	$(INSTALL) '.[serve,experiments$(CUDA)]'
	@touch $@
