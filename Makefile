# Entry points for people and CI. Needs GNU make, and Python 3.11 or newer with its venv module; uses uv where it is installed.

.DEFAULT_GOAL := help
.PHONY: help install run test certify-proxies lint format migrations-check check schema requirements clean

VENV := .venv
PYTHON_IN_VENV := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed

# Workers of pytest in each lane, more arguments for pytest, and the minutes a lane may take.
TEST_WORKERS ?= 2
PYTEST_ARGS ?=
LANE_MINUTES ?= 40
# Where `make run` serves.
PORT ?= 8000
# Every test that starts the product compiles it anew where this is set.
unexport PYTHONDONTWRITEBYTECODE

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Make .venv with everything needed to run and test

$(INSTALLED): requirements/dev.txt
	@python=; \
	for newest in 13 99; do \
	  for candidate in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
	    if [ -z "$$python" ] && "$$candidate" -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, $$newest))" >/dev/null 2>&1; \
	    then python=$$candidate; fi; \
	  done; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "Python 3.11 or newer is needed; python3 here is: $$(python3 --version 2>&1). Or: make install PYTHON=/path/to/python" >&2; exit 1; \
	fi; \
	if ! $(PYTHON_IN_VENV) -c "import sys; sys.exit(sys.version_info < (3, 11))" 2>/dev/null; then \
	  rm -rf $(VENV); \
	  if command -v uv >/dev/null; then UV_PYTHON_DOWNLOADS=never uv venv --quiet --python "$$python" $(VENV); \
	  else "$$python" -m venv $(VENV) || { rm -rf $(VENV); echo "The venv module is missing (on Debian: apt-get install python3-venv)." >&2; exit 1; }; \
	  fi; \
	fi; \
	echo "Installing requirements/dev.txt into $(VENV) ($$($(PYTHON_IN_VENV) --version))"; \
	if command -v uv >/dev/null; then \
	  uv pip install --quiet --compile-bytecode --python $(PYTHON_IN_VENV) --no-deps --require-hashes -r requirements/dev.txt \
	  && uv pip check --quiet --python $(PYTHON_IN_VENV); \
	else \
	  $(PYTHON_IN_VENV) -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/dev.txt \
	  && $(PYTHON_IN_VENV) -m pip check --disable-pip-version-check; \
	fi || { \
	  echo "Not installed; the reason stands above. It needs the Python package index once. Then: make install (rm -rf $(VENV) begins anew)" >&2; exit 1; \
	}
	@touch $@

run: install ## Start the product with a demo tenant and simulated charge points on http://127.0.0.1:8000 (PORT=…)
	@$(PYTHON_IN_VENV) manage.py demo --port $(PORT)

test: install ## Run the whole suite on SQLite, and on PostgreSQL with Redis, at the same time
	@CSMS_TEST_LANE_MINUTES=$(LANE_MINUTES) $(PYTHON_IN_VENV) -m tests.both_lanes -n $(TEST_WORKERS) --dist worksteal --durations=10 --durations-min=2 $(PYTEST_ARGS)

certify-proxies: install ## Play all 77 certification cases natively, through nginx and through HAProxy (needs both)
	@CSMS_TEST_CERTIFY_ALL=1 CSMS_TEST_LANE=sqlite $(PYTHON_IN_VENV) -m pytest -q tests/deploy/test_certify_proxies.py

lint: install ## Check style, types and import rules
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

format: install ## Sort imports, mend what ruff can mend, and format
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

migrations-check: install ## Fail when a model has changed without a migration
	$(PYTHON_IN_VENV) manage.py makemigrations --check --dry-run

check: install ## Run Django's system checks
	$(PYTHON_IN_VENV) manage.py check

schema: install ## Write docs/openapi.yaml from the REST API
	$(PYTHON_IN_VENV) manage.py spectacular --validate --file docs/openapi.yaml

COMPILE = uv pip compile --quiet --universal --python-version 3.11 --no-strip-extras --generate-hashes --no-emit-index-url --custom-compile-command 'make requirements'
requirements: ## Write the hash-pinned requirements/*.txt from pyproject.toml (needs uv; UPGRADE=--upgrade takes newer versions)
	$(COMPILE) $(UPGRADE) pyproject.toml -o requirements/base.txt
	$(COMPILE) $(UPGRADE) pyproject.toml --all-extras -c requirements/base.txt -o requirements/dev.txt

clean: ## Remove .venv and caches; the data in var/ stays
	rm -rf $(VENV) .coverage htmlcov .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache .schemathesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
