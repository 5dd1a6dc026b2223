# Two commands for people who have nothing but a clone: `make conformance` and `make test`.
# Everything else is a tox environment or a `meshmark` command.

PYTHON ?= python3
VENV   := .venv
TOX    := $(VENV)/bin/tox

.DEFAULT_GOAL := help
.PHONY: help conformance conformance-kind test mutants perf doctor clean prerequisites privilege

# With sudo only what needs root runs as root. Everything else is done as the user who called it, in
# whose home the Rust toolchain may be; files that root made all the same are handed back.
ifeq ($(shell id -u)/$(SUDO_UID),0/$(shell stat -c %u .))
ifneq ($(SUDO_UID),0)
USER_HOME := $(shell getent passwd $(SUDO_UID) | cut -d: -f6)
export PATH := $(PATH):$(USER_HOME)/.cargo/bin
AS_USER   := runuser -u $(SUDO_USER) -- env HOME=$(USER_HOME)
HAND_BACK := find . -xdev -user root -exec chown -h $(SUDO_UID):$(SUDO_GID) {} +
endif
endif

# make conformance ARGS="-k TLS-01": passed on to `meshmark run`.
ARGUMENTS := $(if $(ARGS),-- $(ARGS))

FREE_ENVS := lint,unit,rust
ROOT_ENVS := contract,conformance
complete  = $(VENV)/bin/meshmark doctor --fix --quiet
ifdef AS_USER
with_root = $(complete) && $(AS_USER) $(TOX) run -qq --notest -e $(1) \
  && { $(TOX) run -qq --skip-pkg-install -e $(1) $(ARGUMENTS); code=$$?; $(HAND_BACK); exit $$code; }
all_tests = $(complete) --tests || exit; $(AS_USER) $(TOX) run -e $(FREE_ENVS); free=$$?; \
  ($(call with_root,$(ROOT_ENVS))) && exit $$free
else
with_root = $(TOX) run -qq -e $(1) $(ARGUMENTS)
all_tests = $(complete) --tests && $(TOX) run -e $(FREE_ENVS),$(ROOT_ENVS)
endif

help:
	@echo 'make conformance        build the reference mesh, run the conformance suite, write out/latest/report.html'
	@echo 'make conformance-kind   the same on real Kubernetes, by kind'
	@echo 'make test               the tests of the project (lint, types, Python, Rust, cluster, conformance)'
	@echo 'make mutants            run the checks against planted defects and write the kill matrix'
	@echo 'make perf               latency and memory of the mesh against no mesh'
	@echo 'make doctor             what this machine lacks, and the command that installs it'
	@echo 'make clean              remove what was built here'

conformance: privilege $(TOX)
	@[ -e .tox/conformance ] || echo 'Making the environment of the suite (once) …'
	@$(call with_root,conformance)

conformance-kind: $(TOX)
	@[ -e .tox/conformance-kind ] || echo 'Making the environment of the suite (once) …'
	@$(call with_root,conformance-kind)

test: privilege $(TOX)
	@$(all_tests)

mutants: privilege $(TOX)
	@$(call with_root,mutants)

perf: privilege $(TOX)
	@$(call with_root,perf)

doctor: $(TOX)
	@$(VENV)/bin/meshmark doctor

clean:
	rm -rf $(VENV) .tox target out

privilege:
	@[ "$$(id -u)" = 0 ] || { \
	  echo 'The cluster is made of network namespaces of this machine, which takes root. Run:'; \
	  echo '    sudo make $(MAKECMDGOALS)'; \
	  echo 'Only the cluster runs as root then; the build and every file stay yours.'; \
	  echo 'Without root, where you may use Docker, the suite runs on real Kubernetes:'; \
	  echo '    make conformance-kind'; exit 77; }

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
	@$(AS_USER) $(PYTHON) -m venv $(VENV)
	@$(AS_USER) $(VENV)/bin/python -m pip install -q --disable-pip-version-check -e . 'tox>=4.30'
	@$(AS_USER) $(VENV)/bin/python -m compileall -q harness reference_mesh reports suites
	@$(AS_USER) touch $(TOX)
