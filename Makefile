# `make help` lists what can be done. Everything a target needs is installed by `setup`, once.
PY := .venv/app/bin/python
BROWNIE := python3 scripts/brownie.py
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo dev console test ci nightly lint types audit fmt migrate bench features fuzz abi lock kubo

##@ Use
help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Install what is needed below this folder (a second run does nothing)
	@python3 scripts/setup.py

demo: setup ## Run the whole creator story on real parts, then keep the stack running (ARGS=--once stops after it; SCALE=0.05: small)
	@./troupe demo $(ARGS) $(if $(SCALE),--scale $(SCALE))

dev: setup ## Start the stack: database, chain, indexer, API, workers (ARGS=--reset: from nothing)
	@./troupe dev $(ARGS)

console: setup ## Brownie's console on the chain of `make dev`: tip, buy, vote by name (docs/console.md)
	@./troupe console

migrate: setup ## Bring the databases to this version
	@./troupe migrate

##@ Check
test: setup ## The tests, under 10 minutes on 2 cores
	$(PY) -m scripts.suites test

ci: setup ## The slower suites: lint, types, audit, longer histories, faults, Kubo, pages, features
	$(PY) -m scripts.suites ci

nightly: setup ## What does not fit in CI's hour; its last result is kept in docs/nightly.md
	$(PY) -m scripts.suites nightly

lint: setup ## ruff, import rules, solhint, the committed ABIs
	@$(PY) -m ruff check . && $(PY) -m ruff format --check . && .venv/app/bin/lint-imports --no-logo \
		&& npx --no-install solhint --max-warnings 0 'contracts/**/*.sol' && .venv/chain/bin/python -m scripts.deploy.export_abi --check

types: setup ## mypy --strict
	@$(PY) -m mypy

audit: ## Slither, roles, sizes, solhint (installs Slither once, in .venv/audit)
	@python3 scripts/setup.py --audit
	@.venv/audit/bin/python -m scripts.audit

fmt: setup ## Format the Python code
	@$(PY) -m ruff check --fix . ; $(PY) -m ruff format .

fuzz: setup ## Made-up requests against the running API: no 5xx, every answer as its schema says (CASES=50 an operation)
	TROUPE_FUZZ_CASES=$(or $(CASES),50) $(PY) -m scripts.suites ci --only fuzz

features: setup ## The rows of the specification, the tests that hold each, and their doors
	@$(PY) -m scripts.features $(ARGS)

bench: setup ## Measure, each figure beside its floor; one JSON object a line
	@$(PY) -m scripts.suites bench

##@ Make again
abi: setup ## Export the contracts' ABIs into indexer/abi
	@.venv/chain/bin/python -m scripts.deploy.export_abi

lock: ## Resolve the environments anew (needs `uv` on PATH); hashes are kept, addresses are not
	uv pip compile -q --python-version 3.11 --extra dev --generate-hashes --no-emit-index-url --no-header --no-annotate pyproject.toml -o requirements/app.lock
	uv pip compile -q --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate requirements/chain.in -o requirements/chain.lock
	uv pip compile -q --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate requirements/audit.in -o requirements/audit.lock

kubo: ## Build the Kubo daemon with Go, once a machine
	@python3 scripts/setup.py --kubo
