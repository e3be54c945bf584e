# Everything from a fresh clone: `make demo`. Needs Python 3.11 to 3.13, make and a C compiler.
# Another Python: make PYTHON=python3.12 setup

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint wheel clean moved

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 14

setup: $(READY) ## make .venv with everything in it; at once when nothing changed
	@echo "ready: make demo, or .venv/bin/metarun --help"

demo: $(READY) ## train a learner on letters, test it, show the result: a few minutes
	@$(BIN)/metarun experiment=demo

test: lint ## lint, then the tests
	@$(BIN)/pytest -n auto --maxprocesses 4 --dist worksteal

lint: $(READY) ## ruff: mistakes and formatting
	@$(BIN)/ruff check src tests scripts
	@$(BIN)/ruff format --check src tests scripts

wheel: $(READY) ## dist/: the wheels to install metarun elsewhere
	@rm -rf dist && mkdir dist
	@$(BIN)/python -m hatchling build -t wheel -d dist >/dev/null
	@$(BIN)/python scripts/build_learn2learn.py && cp .wheels/*.whl dist/
	@echo "elsewhere: pip install --find-links dist $$(ls dist/metarun-*.whl)"

clean: ## remove .venv and all that was built; runs and data stay
	rm -rf .venv .wheels build dist .pytest_cache .ruff_cache .hypothesis
	find conf scripts src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The scripts in a .venv hold its absolute path: in a copied or moved checkout they would run
# the old place's code. So .venv/.home notes where it was made, and it is made anew elsewhere.
# .home is written after the venv is whole, .ready at the very end: an interrupted set-up goes
# on at the next call.
ifneq ($(shell cat .venv/.home 2>/dev/null),$(CURDIR))
$(READY): moved
endif

$(READY): pyproject.toml scripts/build_learn2learn.py
	@"$(PYTHON)" -c '' 2>/dev/null || { \
	  echo "metarun: '$(PYTHON)' does not run: install Python 3.11 to 3.13," \
	    "or name it: make PYTHON=python3.12 setup" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "metarun: $$("$(PYTHON)" --version 2>&1) does not do, it takes 3.11, 3.12 or 3.13:" \
	    "make PYTHON=python3.12 setup" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "metarun: '$(PYTHON)' cannot make a virtual environment:" \
	    "install its venv module (Debian/Ubuntu: apt install python3-venv)" >&2; exit 1; }
	@if [ "$$(cat .venv/.home 2>/dev/null)" != "$(CURDIR)" ] || ! $(BIN)/python -m pip -V >/dev/null 2>&1; \
	then \
	  echo "making .venv" && rm -rf .venv && "$(PYTHON)" -m venv .venv && \
	  echo "$(CURDIR)" > .venv/.home; fi
	@$(BIN)/python scripts/build_learn2learn.py
	@echo "installing torch and the rest into .venv: about 3 minutes, 5 GB unpacked"
	@$(BIN)/python -m pip install --quiet --find-links .wheels --editable '.[dev]' || { \
	  echo "metarun: pip could not install everything: see above; make setup goes on from here" >&2; \
	  exit 1; }
	@touch $@
