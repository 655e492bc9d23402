# Two commands: `make demo` shows the main job, `make test` passes the tests. Both set up what they need.
# All else: `make check` (what CI checks beside the tests), `make test-sql`, `make mutate-sql`, `make fuzz`, `make fuzz-providers`,
# `make types`, `make chaos`, `make money`, `make readme`, `make bench`, `make clean`.

SHELL := /bin/sh
# The first Python on the PATH that is new enough.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
BIN := .venv/bin

PYTEST = $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile
ON_AN_OLD_PROJECT = worker_functions results_in_bulk order_and_fairness races pacing batch_waits create_batch limits \
	totals_and_edits batch_actions orders models_at_providers item_columns workers crash_suspects

.PHONY: demo test test-sql test-postgres mutate-sql fuzz fuzz-providers chaos money bench readme check types format clean

## The whole main job on this machine: `make demo`, or `make demo ONCE=1` to stop at the end. PORT=N chooses a port.
demo: .venv/.installed-devstack
	@$(BIN)/python -m devstack.demo $(if $(ONCE),--once) $(if $(PORT),--port $(PORT))

## All tests, a file at a time on each core; those of the database once more on a project that had the app's tables
## before. ARGS="-k claim" runs some of them, once.
test: .venv/.installed-dev
	@$(PYTEST) $(ARGS)
	@$(if $(ARGS),true,echo "• the same on a project that had the app's tables and rows before" && \
		BATCHGEN_TEST_PROJECT=app $(PYTEST) $(ON_AN_OLD_PROJECT:%=tests/database/test_%.py))

## The tests in SQL alone: supabase/tests, with pgTAP. ARGS=supabase/tests/tags/… runs some of them.
test-sql: .venv/.installed-dev
	@$(BIN)/python -m tests.sqlchecks tap $(ARGS)

## Takes down each policy, revoke, trigger, CHECK and guard of the schema, one at a time; exits with 1 where no test
## notices. Four minutes. ARGS="--only policy" for some, ARGS=--list to name them.
mutate-sql: .venv/.installed-dev
	@$(BIN)/python -m tests.sqlchecks mutate $(ARGS)

## The tests of the database on another Postgres: VERSION=15, 16, 17 or 18. Says how to get one that is not there.
test-postgres: .venv/.installed-dev
	@$(if $(VERSION),,echo "Say which: make test-postgres VERSION=15, 16, 17 or 18." >&2; exit 2)
	@$(BIN)/python -m tests.sqlchecks postgres $(VERSION)
	@BATCHGEN_TEST_POSTGRES=$(VERSION) $(PYTEST) tests/database tests/sqlchecks/test_tap.py $(ARGS)

## 20,000 strange requests to create_batch in SQL, and as many over HTTP, and a look at the queue after each strange value
## in each column; half an hour. CASES=1000 chooses.
fuzz: .venv/.installed-dev
	@BATCHGEN_FUZZ_CASES=$(or $(CASES),20000) $(BIN)/python -m pytest tests/database/test_fuzz_create_batch.py tests/database/test_fuzz_writes.py \
		tests/e2e/test_fuzz_http.py

## 5,000 strange answers of each provider to a real worker; an hour. CASES=500 chooses; ARGS="-k fal" for one alone.
fuzz-providers: .venv/.installed-dev
	@BATCHGEN_FUZZ_CASES=$(or $(CASES),5000) $(BIN)/python -m pytest -s tests/provider_fuzz $(ARGS)

## Ten minutes of faults on everything; exits with 1 where a promise was broken. SEED=7, SECONDS=60 and BATCHES=20 choose.
chaos: .venv/.installed-dev
	@$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED)) $(if $(SECONDS),--seconds $(SECONDS)) \
		$(if $(BATCHES),--batches $(BATCHES)) $(ARGS)

## 200 items at each provider's local server, under faults and kills of workers; five minutes. Exits with 1 where something
## was bought twice or the ledger is wrong. SEED=7, ITEMS=50 and KILLS=8 choose; ARGS="--provider fal" for one alone.
money: .venv/.installed-dev
	@$(BIN)/python -m tests.money $(if $(SEED),--seed $(SEED)) $(if $(ITEMS),--items $(ITEMS)) $(if $(KILLS),--kills $(KILLS)) $(ARGS)

## Every command of README.md, in order, in a copy of this checkout with an empty home and nothing installed; two minutes.
readme: .venv/.installed-dev
	@$(BIN)/python -m tests.readme

## Speed beside other queues. ARGS=--quick for a short look, ARGS="--only drain,claim" for some subjects.
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

## TypeScript types of the schema into supabase/types, after a migration.
types: .venv/.installed-dev
	@$(BIN)/python -m tests.sqlchecks types

format: .venv/.installed-dev
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

clean:
	rm -rf .venv .batchgen demo-output tests/js/node_modules tools/node_modules

.venv/bin/python:
	@[ -n "$(PYTHON)" ] || { echo "batchgen needs Python 3.11 or newer; none was found on the PATH. Install one, or say make PYTHON=/path/to/python3." >&2; exit 1; }
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
