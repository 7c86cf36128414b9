# Every target prepares what it needs in .venv, so a fresh clone needs one command: make demo
# Another Python: make demo PYTHON=python3.12        Behind a proxy or offline: see CONTRIBUTING.md
PYTHON ?= python3
ARGS ?=
FULL ?=
UPGRADE ?=

VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip
GOAL := $(or $(firstword $(MAKECMDGOALS)),demo)

export FLWR_TELEMETRY_ENABLED := 0
export FLWR_DISABLE_UPDATE_CHECK := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHONNOUSERSITE := 1

# What may run datatrust, as Python: the same range as requires-python in pyproject.toml.
SUPPORTED := (3, 11) <= sys.version_info[:2] < (3, 14)

.PHONY: help mutants removals coverage demo test test-all check check-style check-types check-imports bench docs wheelhouse lock FORCE
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

help:
	@echo 'make demo [ARGS="--scenario NAME"]  a trust of four partners, in seconds, offline once installed'
	@echo 'make test                           the tests that run on every change (under 5 minutes)'
	@echo 'make test-all [FULL=1]              all tests (under 20 minutes; with FULL=1 what a night allows)'
	@echo 'make check                          style, types, layers: what CI checks'
	@echo 'make removals                       remove each numbered check once: a test must turn red'
	@echo 'make coverage                       every branch of gate, mandate, root, rules and policy is tested'
	@echo 'make mutants                        a mutation run over the secure sum and the session (long)'
	@echo 'make bench [FULL=1]                 speed, beside the libraries that do the same'
	@echo 'make docs                           the documentation, into docs/_build'
	@echo 'make wheelhouse                     a folder from which to install without a network'
	@echo 'make lock [UPGRADE=1]               requirements/*.txt from pyproject.toml'

demo: $(VENV)/.run
	@$(VENV)/bin/datatrust demo $(ARGS)

test: $(VENV)/.dev
	@$(PY) -m pytest $(WORKERS) -m "not slow" $(ARGS)

test-all: $(VENV)/.dev
	@$(PY) -m pytest $(WORKERS) $(ARGS)
# A worker with nothing left takes tests from another.
WORKERS = -n auto --dist worksteal

check: check-style check-types check-imports

check-style: $(VENV)/.dev
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .

check-types: $(VENV)/.dev
	@$(PY) -m mypy

check-imports: $(VENV)/.dev
	@$(VENV)/bin/lint-imports --no-logo

bench: $(VENV)/.dev
	@$(PY) -m tests.benchmarks $(if $(filter-out 0,$(FULL)),--full) $(ARGS)

removals: $(VENV)/.dev
	@$(PY) -m tests.removals $(ARGS)

coverage: $(VENV)/.dev
	@$(PY) -m pytest -n auto -m "not slow" -q $(COVERED:%=--cov=%) --cov-branch --cov-report=term-missing --cov-fail-under=100 $(ARGS)
COVERED = nodes.study.gate trust.documents.mandate trust.documents.root trust.documents.votes trust.policy.decide trust.privacy.rules trust.privacy.differencing

# Works on a copy: mutmut writes into the folder that it runs in.
mutants: $(VENV)/.dev
	@rm -rf build/mutants && mkdir -p build/mutants
	@git ls-files -co --exclude-standard | tar -cf - -T - | tar -xf - -C build/mutants
	@cd build/mutants && $(CURDIR)/$(VENV)/bin/mutmut run; $(CURDIR)/$(VENV)/bin/mutmut results | tail -n 40

docs: $(VENV)/.dev
	@$(PY) -m sphinx -W --keep-going -q -b html docs docs/_build
	@echo 'docs/_build/index.html'

# The wheels are those of this machine's system and Python version; their hashes are those of the lock.  Ours comes on
# top, and what builds it is in the lock: with the folder alone one can install, and in a clone build.
wheelhouse: $(VENV)/.run
	@echo 'fetching $(call count,run) packages into $(WHEELHOUSE)/'
	@mkdir -p '$(WHEELHOUSE)' && rm -f '$(WHEELHOUSE)'/*.whl '$(WHEELHOUSE)'/requirements.txt
	@$(PIP) download -qq --only-binary :all: --no-deps --require-hashes -r requirements/run.txt -d '$(WHEELHOUSE)'
	@$(PIP) wheel -qq --no-deps --no-build-isolation -w '$(WHEELHOUSE)' .
	@wheel=$$(ls '$(WHEELHOUSE)'/datatrust_federation-*.whl) && version=$${wheel##*/datatrust_federation-} && \
	  hash=$$($(PIP) hash "$$wheel" | tail -n 1) && cp requirements/run.txt '$(WHEELHOUSE)'/requirements.txt && \
	  echo "datatrust-federation==$${version%%-*} $$hash" >> '$(WHEELHOUSE)'/requirements.txt
	@echo 'Copy $(WHEELHOUSE)/ to a machine with the same system and Python version, and there, with no network:'
	@echo '  python3 -m venv datatrust-env'
	@echo '  datatrust-env/bin/pip install --no-index --find-links wheelhouse --require-hashes --no-deps -r wheelhouse/requirements.txt'
WHEELHOUSE = wheelhouse

# dev is locked under the versions of run, so that the tests run what users run.
lock: $(VENV)/.dev
	@$(LOCK) --group build pyproject.toml -o requirements/run.txt
	@$(LOCK) --group dev -c requirements/run.txt pyproject.toml -o requirements/dev.txt
LOCK = $(PY) -m uv pip compile -q --universal --generate-hashes --no-header --python-version 3.11 --extra all \
	$(if $(filter-out 0,$(UPGRADE)),--upgrade)

# A lock is complete: with --no-deps pip installs it and no more. Without, it looks for the newest version of whatever
# a package asks for with an extra, and refuses it for want of a hash.
# ---- .venv ----------------------------------------------------------------------------------------------------
count = $(shell grep -c '^[A-Za-z0-9].*==' requirements/$1.txt)
MEND = echo 'The installation stopped; what pip said is above. Without a network: CONTRIBUTING.md, "Offline".' >&2

$(VENV)/.run: requirements/run.txt pyproject.toml $(VENV)/.python
	@echo 'installing $(call count,run) packages into $(VENV), about half a minute'
	@$(PIP) install -qq --require-hashes --no-deps -r requirements/run.txt || { $(MEND); exit 1; }
	@$(PIP) install -qq --no-deps --no-build-isolation -e . || { $(MEND); exit 1; }
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.run
	@echo 'installing what the tests need into $(VENV) ($(call count,dev) packages in all), about a minute'
	@$(PIP) install -qq --require-hashes --no-deps -r requirements/dev.txt || { $(MEND); exit 1; }
	@touch $@

# .venv is kept as long as its Python works, is in range, is the one asked for, and the folder was not moved;
# otherwise it is made anew. The recipe runs each time and touches the file only when .venv is new.
$(VENV)/.python: FORCE
	@ask='import sys; sys.exit(not ($(SUPPORTED)))'; \
	version='import sys; print("%d.%d" % sys.version_info[:2])'; \
	if $(PY) -c "$$ask" 2>/dev/null && $(PY) -c "import pip" 2>/dev/null; then \
	  wanted=$$($(PYTHON) -c "$$version" 2>/dev/null); found=$$($(PY) -c "$$version"); \
	  if [ "$$(cat $@ 2>/dev/null || pwd -P)" = "$$(pwd -P)" ] && \
	     { [ '$(origin PYTHON)' = file ] || [ "$$wanted" = "$$found" ]; }; then \
	    [ -e $@ ] || pwd -P > $@; exit 0; \
	  fi; \
	fi; \
	if ! $(PYTHON) -c 'import sys' 2>/dev/null; then \
	  echo 'PYTHON=$(PYTHON) does not run; datatrust needs Python 3.11, 3.12 or 3.13.' >&2; \
	elif ! $(PYTHON) -c "$$ask"; then \
	  echo "PYTHON=$(PYTHON) is Python $$($(PYTHON) -c "$$version"); datatrust needs 3.11, 3.12 or 3.13." >&2; \
	else \
	  if [ -e $(VENV) ]; then echo 'making $(VENV) anew: it belongs to another Python or another folder'; fi; \
	  rm -rf $(VENV); \
	  if $(PYTHON) -m venv $(VENV); then pwd -P > $@; exit 0; fi; \
	  echo 'PYTHON=$(PYTHON) cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv' >&2; \
	  rm -rf $(VENV); exit 1; \
	fi; \
	echo 'Name another one:  make $(GOAL) PYTHON=python3.12' >&2; exit 1
