# `make help` lists the targets. Words for devenv itself go into ARGS: make up ARGS="--name second"

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TOX := $(BIN)/tox run -q

export PIP_DISABLE_PIP_VERSION_CHECK = 1

.DEFAULT_GOAL := help
.PHONY: help up down test unit lint e2e bench changelog clean
.DELETE_ON_ERROR:
.SILENT:

help: ## List the targets
	awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

up: $(VENV)/.devenv ## From nothing to a guest that answers: virtual environment, doctor --fix, up
	$(BIN)/devenv doctor --fix
	$(BIN)/devenv up $(ARGS)

down: $(VENV)/.devenv ## Remove the environment and everything that belongs to it
	$(BIN)/devenv down $(ARGS)

test: unit-and-lint e2e ## Everything: style, types, unit and contract tests, then e2e for real (root)

.PHONY: unit-and-lint
unit-and-lint: $(VENV)/.tox
	$(TOX) -e lint,typing,unit

unit: $(VENV)/.tox ## Unit and contract tests: seconds, no root, no Docker
	$(TOX) -e unit -- $(ARGS)

lint: $(VENV)/.tox ## ruff, import-linter and mypy
	$(TOX) -e lint,typing

# Quieter than the others: the last line is pytest's.
e2e: $(VENV)/.tox ## A whole environment, brought up, broken and removed (root, minutes)
	$(TOX) -q -e e2e -- $(ARGS)

.PHONY: machines
machines: $(VENV)/.tox ## Virtual machines and bare metal for real (root, libvirt, many minutes)
	$(TOX) -q -e machines -- $(ARGS)

bench: $(VENV)/.devenv ## Measure `up` and what it takes: a table (minutes)
	$(BIN)/python -m benchmarks.up $(ARGS)

.PHONY: bench-ha bench-nodes
bench-ha: $(VENV)/.devenv ## Measure a highly available cloud and its faults (hours; ARGS="--runs 0": minutes)
	$(BIN)/python -m benchmarks.ha $(ARGS)

bench-nodes: $(VENV)/.devenv ## Measure how `up` grows from 3 to 20 light nodes (minutes)
	$(BIN)/python -m benchmarks.nodes $(ARGS)

changelog: $(VENV)/.tox ## Show what the news fragments will say
	$(TOX) -q -e changelog

clean: ## Remove .venv and what builds and tests left here; no environment (see make down)
	rm -rf $(VENV) .tox build dist results .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find devenv scenarios tests -name __pycache__ -prune -exec rm -rf {} +

# uv takes a third of pip's time. Where it cannot reach the index (it does not read pip's
# configuration), pip does the work.
install = $(BIN)/uv pip install --quiet --python $(BIN)/python $(1) || $(BIN)/pip install --quiet $(1)

# The stamps are written last: what was interrupted is done again.
$(VENV)/.devenv: pyproject.toml $(VENV)/.python
	echo "installing devenv into $(VENV)"
	$(call install,--editable '.[client]')
	touch $@

$(VENV)/.tox: $(VENV)/.python
	echo "installing tox into $(VENV)"
	$(call install,'tox>=4.18' tox-uv)
	touch $@

$(VENV)/.python:
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("devenv needs Python 3.11 or later; \
	$(PYTHON) is " + sys.version.split()[0] + " (another one: make PYTHON=python3.12 ...)")'
	if ! $(PYTHON) -c 'import ensurepip' 2>/dev/null; then \
	    if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
	        echo "$(PYTHON) cannot make a virtual environment: it has no ensurepip." >&2; \
	        echo "  -> on Debian and Ubuntu: sudo apt-get install python3-venv" >&2; \
	        exit 2; \
	    fi; \
	    echo "installing python3-venv with apt-get: $(PYTHON) cannot make a virtual environment without it"; \
	    apt-get -qq update && DEBIAN_FRONTEND=noninteractive \
	        apt-get -qq install --yes --no-install-recommends python3-venv >/dev/null; \
	fi
	echo "making the virtual environment $(VENV)"
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --quiet uv
	touch $@
