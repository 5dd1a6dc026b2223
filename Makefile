# Two commands for people who have nothing but a clone: `make conformance` and `make test`.
# Everything else is a tox environment or a `meshmark` command.

PYTHON ?= python3
VENV   := .venv
TOX    := $(VENV)/bin/tox

.DEFAULT_GOAL := help
.PHONY: help conformance test mutants perf doctor clean prerequisites

help:
	@echo 'make conformance   build the reference mesh, run the conformance suite, write out/latest/report.html'
	@echo 'make test          every test of the project (lint, types, Python, Rust, cluster, conformance)'
	@echo 'make mutants       run the checks against planted defects and write the kill matrix'
	@echo 'make perf          latency and memory of the mesh against no mesh'
	@echo 'make doctor        what this machine lacks, and the command that installs it'
	@echo 'make clean         remove what was built here'

conformance: $(TOX)
	@$(TOX) run -q -e conformance

test: $(TOX)
	@$(TOX) run

mutants: $(TOX)
	@$(TOX) run -q -e mutants

perf: $(TOX)
	@$(TOX) run -q -e perf

doctor: $(TOX)
	@$(VENV)/bin/meshmark doctor

clean:
	rm -rf $(VENV) .tox target out

# What must be there before there is a virtual environment that could say it better.
prerequisites:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo 'meshmark needs Python 3.11 or newer as "$(PYTHON)". Install it with:'; \
	  echo '    sudo apt-get install -y python3 python3-venv'; \
	  echo 'or name another: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)'; exit 69; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo 'Python cannot make virtual environments here. Install the missing part with:'; \
	  echo '    sudo apt-get install -y python3-venv'; exit 69; }
	@command -v cc >/dev/null 2>&1 || { \
	  echo 'There is no C compiler ("cc"). Install one with:'; \
	  echo '    sudo apt-get install -y build-essential'; exit 69; }
	@command -v cargo >/dev/null 2>&1 || { \
	  echo 'There is no Rust toolchain ("cargo"); the proxy needs Rust 1.90 or newer. Install it with:'; \
	  echo "    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y"; \
	  echo 'and open a new shell, so that cargo is found.'; exit 69; }

$(TOX): pyproject.toml | prerequisites
	@echo 'Making $(VENV) (once) …'
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install -q --disable-pip-version-check -e . 'tox>=4.30'
	@touch $(TOX)
