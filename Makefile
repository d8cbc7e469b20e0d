# Everything runs from .venv, which the first call makes. `make help` lists the targets.
#
#   make up ARGS="--no-demo --port 9090"     make test TESTS=tests/unit

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory --no-builtin-rules

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps
PACKAGES := shared services/web services/billing-daemon services/stats-aggregator
SOURCES := $(foreach package,$(PACKAGES),$(package)/src)
CODE := $(SOURCES) tests

TESTS ?=
TEST_WORKERS ?= 2
PYTEST = $(BIN)/python -m pytest -n $(TEST_WORKERS) --dist worksteal
UV ?= uv

# The first of these that is new enough and can make an environment. A name alone says little: version
# managers put names on the PATH that only tell that the version is missing.
PYTHONS := $(PYTHON) python3.11 python3.12 python3.13 python3.14 python3 python
IS_USABLE := import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))

# An environment has its own path written into it, so one that was moved or copied here is made anew.
ELSEWHERE := $(shell grep -qsF ' $(abspath $(VENV))' $(VENV)/pyvenv.cfg || ls $(VENV)/pyvenv.cfg 2>/dev/null)

INSTALL := $(BIN)/python requirements/install.py
# Programs of others that read the API, each set in an environment of its own.
READERS := $(STAMPS)/clients $(STAMPS)/statuscheck

.PHONY: help up setup test test-all check format bench screenshots soak requirements clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: $(STAMPS)/local ## Run everything on this machine; Ctrl-C stops it
	@exec $(BIN)/containerstacks up $(ARGS)

setup: $(STAMPS)/dev $(READERS) ## Install everything that running, checking and testing need

test: $(STAMPS)/dev ## Run what every change must pass (five minutes), or TESTS="…"
	@exec $(PYTEST) $(or $(TESTS),-m quick) $(ARGS)

test-all: $(STAMPS)/dev $(READERS) ## Run every test, and say what to install for those that were skipped
	@exec $(PYTEST) $(ARGS)

check: $(STAMPS)/dev ## Format, lint, types, imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --strict $(CODE)
	$(BIN)/lint-imports

format: $(STAMPS)/dev ## Bring the code into the form that `make check` wants
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMPS)/dev ## Measure, print one table, write build/bench.md and bench.json
	@cd tests && exec ../$(BIN)/python -m benchmarks $(ARGS)

screenshots: $(STAMPS)/dev ## Take pictures of every page in every state, into build/screenshots
	@cd tests && exec ../$(BIN)/python -m screenshots $(ARGS)

soak: $(STAMPS)/dev ## Inject faults at random for a long time, from a printed seed
	@cd tests && exec ../$(BIN)/python -m faults.soak $(ARGS)

# No lock file with addresses: names, versions and hashes only.
requirements: ## Compile requirements/*.in again (needs uv)
	@command -v $(UV) >/dev/null || { echo "make requirements needs uv: python3 -m pip install uv" >&2; exit 1; }
	@for name in base build local traces dev clients statuscheck; do \
	    echo "requirements/$$name.txt"; \
	    $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	        --custom-compile-command "make requirements" $(UVFLAGS) \
	        "requirements/$$name.in" --output-file "requirements/$$name.txt" || exit 1; \
	done

clean: ## Remove the environment and caches (not .containerstacks/, which holds data)
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# The environment ---------------------------------------------------------------------------------

# A stamp is written last, so an interrupted installation is taken up again.
$(STAMPS)/venv:
	@if [ -n "$(ELSEWHERE)" ] || ! $(BIN)/python -c '$(IS_USABLE)' 2>/dev/null \
	    || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	    for python in $(PYTHONS); do \
	        if "$$python" -c '$(IS_USABLE)' 2>/dev/null; then found=$$python; break; fi; \
	    done; \
	    if [ -z "$$found" ]; then \
	        echo "Python 3.11 or newer with its venv module is needed (on Debian: apt install python3 python3-venv)." >&2; \
	        exit 1; \
	    fi; \
	    echo "Making $(VENV) with $$("$$found" --version) …"; \
	    "$$found" -m venv --clear $(VENV) || exit 1; \
	fi
	@mkdir -p $(STAMPS)
	@touch $@

# The stamps of another place say nothing about this one.
ifneq ($(ELSEWHERE),)
.PHONY: $(STAMPS)/venv
$(STAMPS)/local $(READERS): $(STAMPS)/venv
endif

# Exactly what is pinned, by hash; then the workspace's own packages, which add nothing to that.
$(STAMPS)/local: requirements/local.txt requirements/build.txt $(PACKAGES:%=%/pyproject.toml) | $(STAMPS)/venv
	@echo "Installing what \`make up\` needs; the first time this takes a minute …"
	@$(INSTALL) "  build tools" --require-hashes -r requirements/build.txt
	@$(INSTALL) "  requirements" --no-build-isolation --require-hashes -r requirements/local.txt
	@$(INSTALL) "  ContainerStacks" --no-deps --no-build-isolation $(PACKAGES:%=-e %)
	@touch $@

$(STAMPS)/dev: requirements/dev.txt $(STAMPS)/local
	@echo "Installing what \`make check\` and \`make test\` need …"
	@$(INSTALL) "  requirements" --no-build-isolation --require-hashes -r requirements/dev.txt
	@touch $@

$(READERS): $(STAMPS)/%: requirements/%.txt | $(STAMPS)/venv
	@$(BIN)/python -m venv --clear $(VENV)/readers/$*
	@$(VENV)/readers/$*/bin/python requirements/install.py "  $*" --require-hashes -r requirements/$*.txt
	@touch $@
