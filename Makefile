PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test soak check base template clean

demo: $(STAMP)  ## the whole way on a simulated take; ends with the path of a report
	$(BIN)/litdome demo demo

test: $(STAMP)  ## the whole suite
	$(BIN)/python -m pytest -n 2

soak: $(STAMP)  ## kill a run 200 times and compare what is left of it
	LITDOME_KILLS=200 $(BIN)/python -m pytest tests/test_soak.py

check: $(STAMP)  ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

base: $(STAMP)  ## train the embedded tiny base again (half an hour; resumes)
	$(BIN)/python tools/make_base.py --out build/base

# The stamp is written last, so an interrupted installation starts again.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13) and "litdome needs Python 3.11 to 3.13")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar on -c constraints.txt -e '.[train,dev]'
	touch $@

clean:
	rm -rf $(VENV) demo runs build
