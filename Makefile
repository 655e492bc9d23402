# `make demo` shows the main task, `make test` runs the tests. Both install what they need.
# Others: `make check` (all checks of CI but the tests), `make test-sql`, `make test-postgres`, `make mutate-sql`,
# `make fuzz`, `make fuzz-providers`, `make types`, `make chaos`, `make money`, `make readme`, `make bench`,
# `make format`, `make clean`.

SHELL := /bin/sh
# The first Python on the PATH that is new enough.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
BIN := .venv/bin

PYTEST = $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
ON_AN_OLD_PROJECT = worker_functions results_in_bulk order_and_fairness races pacing batch_waits create_batch limits \
	totals_and_edits credits batch_actions orders models_at_providers item_columns workers crash_suspects

.PHONY: demo test test-sql test-postgres mutate-sql fuzz fuzz-providers chaos money bench readme check types format clean

## Run the main task on this machine. ONCE=1 stops the stack at the end, PORT=N chooses a port.
demo: .venv/.installed-devstack
	@$(BIN)/python -m devstack.demo $(if $(ONCE),--once) $(if $(PORT),--port $(PORT))

## Run all tests in parallel, and the database's tests again on a project that already had the app's tables.
## ARGS="-k claim" runs only some, once.
test: .venv/.installed-dev
	@$(PYTEST) $(ARGS)
	@$(if $(ARGS),true,echo "• the same on a project that had the app's tables and rows before" && \
		BATCHGEN_TEST_PROJECT=app $(PYTEST) $(ON_AN_OLD_PROJECT:%=tests/database/test_%.py))

## Run the SQL tests in supabase/tests with pgTAP. ARGS=supabase/tests/tags/… runs some of them.
test-sql: .venv/.installed-dev
	@$(BIN)/python -m tests.sqlchecks tap $(ARGS)

## Remove each policy, revoke, trigger, CHECK and guard of the schema in turn; exit with 1 if no test notices. Four
## minutes. ARGS="--only policy" runs some, ARGS=--list lists them.
mutate-sql: .venv/.installed-dev
	@$(BIN)/python -m tests.sqlchecks mutate $(ARGS)

## Run the database's tests on another Postgres: VERSION=15, 16, 17 or 18. Explains how to install a missing one.
test-postgres: .venv/.installed-dev
	@$(if $(VERSION),,echo "Say which: make test-postgres VERSION=15, 16, 17 or 18." >&2; exit 2)
	@$(BIN)/python -m tests.sqlchecks postgres $(VERSION)
	@BATCHGEN_TEST_POSTGRES=$(VERSION) $(PYTEST) tests/database tests/sqlchecks/test_tap.py $(ARGS)

## Send 20,000 malformed requests to preview_batch and create_batch in SQL and as many over HTTP, and write invalid values into each column;
## half an hour. CASES=1000 chooses the number.
fuzz: .venv/.installed-dev
	@BATCHGEN_FUZZ_CASES=$(or $(CASES),20000) $(BIN)/python -m pytest tests/database/test_fuzz_create_batch.py tests/database/test_fuzz_writes.py \
		tests/e2e/test_fuzz_http.py

## Send 5,000 malformed responses of each provider to a real worker; an hour. CASES=500 chooses the number, ARGS="-k fal"
## the provider.
fuzz-providers: .venv/.installed-dev
	@BATCHGEN_FUZZ_CASES=$(or $(CASES),5000) $(BIN)/python -m pytest -s tests/provider_fuzz $(ARGS)

## Inject faults everywhere for ten minutes; exit with 1 if a promise was broken. Options: SEED=7, SECONDS=60, BATCHES=20.
chaos: .venv/.installed-dev
	@$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED)) $(if $(SECONDS),--seconds $(SECONDS)) \
		$(if $(BATCHES),--batches $(BATCHES)) $(ARGS)

## Run 200 items at each provider's local server while injecting faults and killing workers, and before that the tests
## under random faults with four seeds; seven minutes. Exit with 1 if a job was ordered twice or the ledger is wrong.
## Options, each for the first part alone: SEED=7, ITEMS=50, KILLS=8, ARGS="--provider fal".
money: .venv/.installed-dev
	@$(if $(ARGS)$(SEED)$(ITEMS)$(KILLS),true,BATCHGEN_TEST_SEEDS=4 $(PYTEST) -m random_faults tests/providers tests/database)
	@$(BIN)/python -m tests.money $(if $(SEED),--seed $(SEED)) $(if $(ITEMS),--items $(ITEMS)) $(if $(KILLS),--kills $(KILLS)) $(ARGS)

## Run every command of README.md in order, in a copy of this checkout with an empty home; two minutes.
readme: .venv/.installed-dev
	@$(BIN)/python -m tests.readme

## Measure speed beside other queues. ARGS=--quick for a short run, ARGS="--only drain,claim" for some subjects.
bench: .venv/.installed-dev
	@$(BIN)/python -m benchmarks $(ARGS)

## Format, lint, types, import rules, SQL as text and in databases.
check: .venv/.installed-dev
	@echo "• format" && $(BIN)/ruff format --check .
	@echo "• lint" && $(BIN)/ruff check .
	@echo "• import rules" && $(BIN)/lint-imports
	@echo "• SQL" && $(BIN)/squawk --config .squawk.toml supabase/migrations/*.sql
	@echo "• types" && $(BIN)/pyright
	@echo "• SQL in databases" && $(BIN)/python -m tests.sqlchecks check

## Write TypeScript types of the schema to supabase/types, after a migration.
types: .venv/.installed-dev
	@$(BIN)/python -m tests.sqlchecks types

format: .venv/.installed-dev
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

clean:
	rm -rf .venv .batchgen demo-output tests/js/node_modules tools/node_modules

.venv/bin/python:
	@[ -n "$(PYTHON)" ] || { echo "batchgen needs Python 3.11 or newer; none was found on the PATH. Install one, or run make PYTHON=/path/to/python3." >&2; exit 1; }
	@echo "• a virtual environment in .venv ($$($(PYTHON) --version))"
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "$(PYTHON) -m venv failed. On Debian and Ubuntu: apt-get install python3-venv." >&2; exit 1; }

.venv/.installed-devstack: .venv/bin/python pyproject.toml constraints.txt
	@echo "• Python packages"
	@$(BIN)/python tools/install.py '.[devstack]'
	@touch $@

.venv/.installed-dev: .venv/bin/python pyproject.toml constraints.txt
	@echo "• Python packages for development"
	@$(BIN)/python tools/install.py '.[dev]'
	@touch $@ .venv/.installed-devstack
