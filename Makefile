# Two commands: `make demo` and `make test`. Both set up what they need in .venv.

PYTHON ?= python3
BIN := .venv/bin
SETUP := .venv/.setup
TSC := node_modules/.bin/tsc
DEMO := demo

.PHONY: demo test check setup clean

setup: $(SETUP)

$(SETUP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "nas needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	# for benchmarks.search: its scheduler needs none of what the package asks for, of which XGBoost is half a gigabyte
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-deps syne-tune
	touch $@

# Searches on real novels under a budget, makes the final run, prints the front, writes the report, exports the model.
demo: export NAS_HOME := $(CURDIR)/$(DEMO)/home
demo: setup
	mkdir -p $(DEMO)
	$(BIN)/nas run examples/austen-quickstart.yaml --output id > $(DEMO)/id
	$(BIN)/nas front $$(cat $(DEMO)/id)
	$(BIN)/nas report $$(cat $(DEMO)/id) --out $(DEMO)/report.html
	$(BIN)/nas export $$(cat $(DEMO)/id) --out $(DEMO)/model --force
	$(BIN)/nas generate $$(cat $(DEMO)/id) "It is a truth" --tokens 60
	$(BIN)/nas status $$(cat $(DEMO)/id)

test: setup
	$(BIN)/pytest -n 2 --dist loadscope

# The gates beside the tests: style, types, layers, and the types of the dashboard's modules.
check: setup $(TSC)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(TSC) --project dashboards

$(TSC): package.json package-lock.json
	npm ci --no-audit --no-fund --loglevel=error
	touch $@

clean:
	rm -rf .venv node_modules $(DEMO)
