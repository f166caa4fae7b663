# Two commands need nothing but Python >= 3.11, git and make: `make demo` and `make test`.
# Each builds the environment in .venv first (with uv where it is there, else venv and pip).
#
#   make PYTHON=python3.12 test    a Python of your choice for the environment
#   make INSTALLER=pip test        one installer of your choice: uv or pip
#   make test ROOM=nco             one room and what it stands on; also a wing: ROOM=runner
#   make test PYTEST="-k tsp -x"   more options for pytest

.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules
SHELL := /bin/sh

INSTALLER ?= auto
PYTEST ?=
ROOM ?=
ROOMS ?=
UPGRADE ?=
WORKERS ?= logical
RUN := .venv/bin/python
TORCH = $(shell grep '^torch==' requirements/peers.in)
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest \
	--no-emit-index-url --no-annotate --no-header --generate-hashes $(UPGRADE)

# What `ROOM` names is tested by its folders: the library's and its glue's doctests, the tests of
# both, its configs' contract. `experiments` is all of that folder but the glue of the rooms. With
# every room go the policy gradients, on which all rooms stand, and the tests of the house.
ifneq ($(ROOM),)
ifeq ($(and $(filter 1,$(words $(ROOM))),$(wildcard tests/$(ROOM)/ tests/experiments/$(ROOM)/)),)
$(error ROOM=$(ROOM): expected one room, with a folder tests/$(ROOM) or tests/experiments/$(ROOM))
endif
PACKAGES := $(patsubst %/__init__.py,%,$(wildcard */__init__.py))
TESTED := $(sort tests/house $(wildcard $(ROOM) $(PACKAGES:%=%/$(ROOM)) tests/*/$(ROOM)) \
	$(if $(filter nco,$(ROOM)),,nco/policy_gradient.py tests/nco/test_policy_gradient.py))
ifeq ($(ROOM),experiments)
TESTED += $(foreach room,$(sort $(PACKAGES) $(notdir $(wildcard experiments/configs/[a-z]*))), \
	--ignore=experiments/$(room) --ignore=tests/experiments/$(room))
endif
CONFIGS := $(patsubst experiments/configs/%.py,%,$(wildcard experiments/configs/$(ROOM)/[a-z]*.py))
TESTED += $(foreach contract,test_configs test_updates_of_large_networks_and_of_other_sizes, \
	$(CONFIGS:%='tests/experiments/runner/test_contract.py::$(contract)[%]'))
endif

# Python's own compiled files are worth having whatever the shell says: importing jax and its kin
# takes three times as long without.
export PYTHONDONTWRITEBYTECODE =

# What is compiled for a test is kept for the next ones: half the time of a suite goes there.
test test-slow: export JAX_COMPILATION_CACHE_DIR ?= $(CURDIR)/.cache/jax
test test-slow: export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS ?= 0.1

.PHONY: help demo test test-slow lint format types bench peers lock clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

demo: .venv/stamp ## Train on TSP20 for a minute or two, compare with classical solvers, draw tours
	$(RUN) -m experiments.run --config=nco/tsp:20,demo --workdir=runs/demo --cpu_devices=2

test: .venv/stamp lint types ## Check style and types, then run all but the slow tests (ROOM=nco)
	$(RUN) -m pytest -n $(WORKERS) --maxprocesses 4 --dist worksteal --durations 20 -m "not slow" \
		$(TESTED) $(PYTEST)

# In one process, for some of them are of time limits and of moments at which runs are killed. A
# room without slow tests (pytest's 5) is no failure.
test-slow: .venv/stamp ## Run the slow tests: long proofs, many kills, whole training runs (ROOM=nco)
	$(RUN) -m pytest --durations 20 -m slow $(TESTED) $(PYTEST) || test $$? -eq 5

lint: .venv/stamp ## Check style and format
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

format: .venv/stamp ## Put the style right where ruff can
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

types: .venv/stamp ## Check the types of signatures
	$(RUN) -m mypy

bench: .venv/stamp ## Time every kernel against this machine's floor (ROOMS="nco enas" for some)
	$(RUN) -m experiments.bench $(ROOMS)

peers: .venv-peers/stamp ## Build the PyTorch peer's own environment, for side-by-side runs

lock: ## Resolve the locks from pyproject.toml and peers.in (UPGRADE=--upgrade for the newest)
	$(COMPILE) pyproject.toml --extra all --extra test -o requirements/base.lock
	$(COMPILE) requirements/peers.in --overrides requirements/cpu-only.txt \
		--no-emit-package torch -o requirements/peers.lock

clean: ## Remove the environments and every cache; runs/ stays
	rm -rf .venv .venv.* .venv-peers .venv-peers.* .cache .mypy_cache .ruff_cache .pytest_cache \
		.hypothesis build dist
	find . -path ./runs -prune -o -name __pycache__ -type d -exec rm -rf {} +

# The first Python that is new enough and really runs: a version manager's shim may be there and
# fail. `$(1)` is what install.py is told.
define build-environment
	@for python in $(PYTHON) python3.13 python3.12 python3.11 python3; do \
		if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			exec "$$python" requirements/install.py --installer $(INSTALLER) $(1); \
		fi; \
	done; \
	echo 'no Python >= 3.11 found; tried: $(PYTHON) python3.13 python3.12 python3.11 python3' >&2; \
	exit 1
endef

.venv/stamp: requirements/base.lock pyproject.toml
	$(call build-environment,--editable requirements/base.lock .venv)

# pip, because its settings may name a folder or an index with a CPU build of torch.
.venv-peers/stamp: requirements/peers.lock
	$(call build-environment,--first $(TORCH) requirements/peers.lock .venv-peers)
