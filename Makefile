# Every target sets itself up in .venv; nothing is done twice while pyproject.toml and
# constraints.txt stay as they are.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e
NEEDED = pyproject.toml constraints.txt vectors/pyproject.toml vectors/semsearch_nb_vectors/manifest.json
# pip compiles on one core.
COMPILE = -$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib semsearch_nb tools

.PHONY: help notebooks test test-all lab lint sync refresh book links slides wheelhouse clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

notebooks: $(VENV)/.ready-run ## run every notebook and write pages into build/; ELASTICSEARCH=download: 06 too
	$(BIN)/python tools/notebooks.py run $(ELASTICSEARCH:%=--elasticsearch=%)

test: lint ## lint, types, tests, and every notebook compared with its committed outputs
	$(BIN)/python -m pytest -n 2 --dist loadfile
	$(BIN)/python -m pytest --nbval notebooks -n 2 --dist loadfile

test-all: test ## the same, and the tests that take minutes: full data, models of the hub, other runners
	$(BIN)/python -m pytest -m slow

lab: $(VENV)/.ready-lab ## open JupyterLab
	JUPYTER_CONFIG_PATH=$(CURDIR)/tools $(BIN)/jupyter lab notebooks

lint: $(VENV)/.ready-test ## ruff and mypy
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

sync: $(VENV)/.ready-run ## write the generated parts: headers, setup cells, tables, links
	$(BIN)/python tools/notebooks.py sync
	$(BIN)/python tools/workshop.py

refresh: $(VENV)/.ready-run ## run the notebooks in place, so that their outputs are those of this version
	$(BIN)/python tools/notebooks.py refresh

book: $(VENV)/.ready-book ## the notebooks as committed, reports and interfaces, as pages with search in build/book/
	$(BIN)/python tools/book.py

links: $(VENV)/.ready-book ## ask every address that the book links to whether it is still there
	$(BIN)/python tools/book.py links

slides: $(VENV)/.ready-book ## the slides of the workshop's three paths, in build/slides/
	$(BIN)/python tools/workshop.py slides

wheelhouse: $(VENV)/.ready-run ## all wheels, data and notebooks for a room without network, in build/wheelhouse/; TRY=--try
	WITH="$(WITH)" $(BIN)/python tools/workshop.py wheelhouse $(TRY)

clean: ## remove build/ and .venv
	rm -rf build $(VENV)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "semsearch-nb needs Python 3.10 or newer; choose one with: make PYTHON=python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.ready-run: $(NEEDED) | $(BIN)/python
	$(INSTALL) ".[ann,elastic,encyclopedia,notebooks,openvino,sparse,stores,training]" ./vectors
	$(COMPILE)
	touch $@

$(VENV)/.ready-test: $(NEEDED) | $(BIN)/python
	$(INSTALL) ".[ann,dev,elastic,encyclopedia,notebooks,openvino,sparse,stores,training]" ./vectors
	$(COMPILE)
	touch $(VENV)/.ready-run $@

$(VENV)/.ready-lab: $(VENV)/.ready-run
	$(INSTALL) ".[lab]"
	touch $@

$(VENV)/.ready-book: $(VENV)/.ready-run
	$(INSTALL) ".[book]"
	touch $@
