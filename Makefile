# `make` alone says what there is. Everything happens in a project-local .venv.
.DEFAULT_GOAL := help
.PHONY: help up down setup setup-dev page check test bench accept requirements reference lock

help:            ## say what each target does
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

up: setup        ## set up, start Leasehold in the background, print its URL
	@.venv/bin/leasehold up

down:            ## stop what `make up` started
	@if [ -x .venv/bin/leasehold ]; then .venv/bin/leasehold down; else echo "down: nothing was set up here"; fi

setup:           ## make .venv from the lock files; quick when it is there
	@tools/setup.sh runtime

setup-dev:       ## make .venv with what the checks and tests need as well
	@tools/setup.sh dev

page: setup      ## build the page of web/ again (Node 18 or newer, or one from PyPI)
	@tools/page.sh

check: setup-dev ## format, lint, types, import rules, fast tests (under two minutes)
	@tools/check.sh

test: setup-dev  ## all checks and all tests; writes the table of requirements
	@tools/test.sh

bench: setup-dev ## measure against the peers; ARGS="--only lease" chooses
	@.venv/bin/python -m bench $(ARGS)

accept: setup-dev ## check each promise on the installed wheel; ARGS="--only run --budget 600" chooses
	@.venv/bin/python -m accept $(ARGS)

requirements:    ## rewrite docs/reference/requirements.md from the last full `make test`
	@.venv/bin/python -m leasehold.testing.requirements_table write reports/requirements/*.json

reference: setup-dev ## rewrite the generated pages of docs/reference
	@.venv/bin/python tools/reference.py write
	@.venv/bin/python tools/protocols.py write

lock: setup-dev  ## compile the lock files again from pyproject.toml; ARGS=--upgrade takes newer versions
	@tools/lock.sh $(ARGS)
