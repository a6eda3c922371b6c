# Every target sets itself up in .venv; nothing is done twice while pyproject.toml and
# constraints.txt stay as they are.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help notebooks test lab lint sync refresh clean

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

notebooks: $(READY) ## run every notebook and write pictures and pages into build/
	$(BIN)/python tools/notebooks.py run

test: lint $(READY) ## lint, types, all tests, and every notebook compared with its committed outputs
	$(BIN)/python tools/notebooks.py sync --check
	$(BIN)/python -m pytest
	$(BIN)/python -m pytest --nbval notebooks

lab: $(READY) ## open JupyterLab
	$(BIN)/jupyter lab notebooks

lint: $(READY) ## ruff and mypy
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

sync: $(READY) ## write the generated parts: headers, setup cells, tables, links
	$(BIN)/python tools/notebooks.py sync

refresh: $(READY) ## run the notebooks in place, so that their outputs are those of this version
	$(BIN)/python tools/notebooks.py refresh

clean: ## remove build/ and .venv
	rm -rf build $(VENV)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "semsearch-nb needs Python 3.10 or newer; choose one with: make PYTHON=python3.11 ..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[ann,dev,elastic,encyclopedia,openvino,training]"
	touch $@
