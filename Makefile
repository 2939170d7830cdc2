# Plain words; `make help` lists them. Everything happens in .venv, nothing is installed outside this folder but, where
# it is missing and we may, Debian's venv module.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
PYTEST := $(PY) -m pytest
ARGS ?=

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z\/%-]+:.*## / { sub(/%/, "ROOM", $$1); printf "  make %-12s %s\n", $$1, $$2 }' Makefile

.PHONY: setup
setup: $(READY) ## make .venv and install what the locks name; skipped when up to date

# The stamp is written last: an interrupted setup starts again. Byte code is compiled here, so that no start pays for it.
# The locks name every package, so nothing is left to resolve: an older pip would look at releases that came after the
# lock, and refuse them for having no hash there.
$(READY): pyproject.toml requirements.lock requirements-dev.lock
	@.ci/venv $(VENV)
	@echo "Installing the locked packages"
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --require-hashes -r requirements.lock -r requirements-dev.lock
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --no-build-isolation --editable .
	@$(PY) -m pip check --quiet --disable-pip-version-check
	@$(PY) -m compileall -q -j 0 $(VENV)/lib daemon $(wildcard jobs)
	@touch $(READY)

.PHONY: run
run: $(READY) ## serve this repository as a site on http://127.0.0.1:8420
	@exec $(VENV)/bin/millrace -c config.toml serve

.PHONY: demo
demo: $(READY) ## kill a daemon in the middle of its work, and see what became of it
	@$(VENV)/bin/millrace demo crash $(ARGS)

# What starts daemons for every test takes minutes, and is part of `make check`.
DAEMONS := tests/process tests/docs/test_pages.py

# One process more than there are cores: many tests wait for others most of the time.
BESIDE := -n $(shell expr $$(nproc) + 1)

.PHONY: test
test: $(READY) ## run the suite in under 3 minutes (make test ARGS="-k retry" picks)
	$(PYTEST) $(BESIDE) $(addprefix --ignore=,tests/faults $(DAEMONS)) $(ARGS)

.PHONY: test/daemons
test/daemons: $(READY) ## drive real daemons, and follow every page of the docs
	$(PYTEST) -n auto $(DAEMONS) $(ARGS)

# Two at once: most of them wait most of the time. Those that lack a right or a tool are skipped, and told with the reason.
.PHONY: test/faults
test/faults: $(READY) ## kill, break and fill: the fault tests, bounded; FAULT_ROUNDS=100 for more
	$(if $(wildcard tests/faults/test_*.py),$(PYTEST) -n 2 -rs tests/faults $(ARGS),@true)

test/%: $(READY) ## run the tests of one room
	$(PYTEST) tests/$* $(ARGS)

# Tracing slows every process down, so that this is no part of `make check`. The report comes also when a test has
# failed; then, or below the bound, the target fails.
COVERAGE := $(PY) -m coverage
SUITE ?= $(addprefix --ignore=,tests/faults $(DAEMONS))

.PHONY: coverage
coverage: $(READY) ## what `make test` reaches; at least 95 % of the branches of ledger, queue, runner
	@rm -f .coverage .coverage.*
	@failed=0; \
	PYTHONPATH=$(CURDIR)/.ci/measure $(PYTEST) -n auto --cov --cov-report= \
	  $(SUITE) $(ARGS) || failed=1; \
	$(COVERAGE) report --include='*/millrace/ledger/*,*/millrace/queue/*,*/millrace/runner/*' || failed=1; \
	$(COVERAGE) json -q -o .coverage.json && $(PY) .ci/measure/rooms.py .coverage.json || failed=1; \
	exit $$failed

.PHONY: check
check: lint types imports test test/daemons test/faults ## all that CI runs

.PHONY: bench
bench: $(READY) ## measure: one table of figures, in under 25 minutes (make bench ARGS=--quick)
	@$(PY) bench/run.py $(ARGS)

.PHONY: fix
fix: $(READY) ## format, and mend what can be mended by itself
	$(PY) -m ruff check --fix --quiet || true
	$(PY) -m ruff format --quiet

.PHONY: lint
lint: $(READY) ## style and likely errors
	$(PY) -m ruff check
	$(PY) -m ruff format --check

.PHONY: types
types: $(READY) ## type check
	$(PY) -m mypy

.PHONY: imports
imports: $(READY) ## the layers: imports point down only
	$(VENV)/bin/lint-imports

.PHONY: docs
docs: $(READY) ## write docs/reference/ from the code
	@$(PY) -m docs.generate

.PHONY: wheel
wheel: $(READY) ## build the wheel into dist/
	$(PY) -m build --wheel --no-isolation --outdir dist

# No index address and no path may enter the locks: they install from wherever pip is told to look.
PIP_COMPILE := CUSTOM_COMPILE_COMMAND="make lock" $(VENV)/bin/pip-compile --quiet --generate-hashes --allow-unsafe \
	--strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options

.PHONY: lock
lock: $(READY) ## write the lock files anew (LOCK=--upgrade for newer releases)
	$(PIP_COMPILE) $(LOCK) -o requirements.lock pyproject.toml
	$(PIP_COMPILE) $(LOCK) --extra dev -c requirements.lock -o requirements-dev.lock pyproject.toml

.PHONY: clean
clean: ## remove what tools left behind; the site's state in var/ stays
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage
