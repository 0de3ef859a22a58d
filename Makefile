# demo and test need python3 >= 3.11 with pip and venv, and nothing else; each sets up what it needs.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
CONSTRAINTS := constraints.txt
PIP := $(RUN)/python -m pip
INSTALL := $(PIP) install --quiet $(foreach file,$(CONSTRAINTS),--constraint $(file) --build-constraint $(file))
TESTS := tests
# Tests wait more than they work, so two processes more than there are processors, but no more than eight.
WORKERS := $(shell n=$$(nproc 2> /dev/null || echo 2); echo $$((n < 7 ? n + 2 : 8)))
# What tests need to be installed; SETUP=.develop-test has enough for unit and contract tests, in less time.
SETUP := .develop

.DEFAULT_GOAL := help
.PHONY: help setup demo test newest lowest pythons constraints chaos rolling outage matrix chart check fix pictures docs bench release clean

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.demo: pyproject.toml $(CONSTRAINTS)
	@echo "Setting up in $(VENV) (once, about a minute) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed; name it with make PYTHON=..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "The venv module is missing; on Debian: apt install python3-venv"; exit 1; }
	@$(PIP) install --quiet --upgrade 'pip>=25.3' $(CONSTRAINTS:%=--constraint %)
	@$(INSTALL) --editable '.[devstack]'
	@touch $@

$(VENV)/.develop $(VENV)/.develop-test: $(VENV)/.demo
	@$(INSTALL) --group $(if $(filter %-test,$@),test,check)
	@touch $@

setup: $(VENV)/.develop ## Set up everything for development in .venv

demo: $(VENV)/.demo ## Run a job on a stack of its own on this machine and print its result, fetched from S3
	@$(RUN)/tarpon devstack --computes 2 --random-ports -- ./deploy/demo.sh

# Whatever the caller's shell says, bytecode is kept: hundreds of processes would compile all of Tarpon anew.
test: export PYTHONDONTWRITEBYTECODE :=
test: $(VENV)/$(SETUP) ## Run all tests, or TESTS="folders and files"
	@$(RUN)/python -m pytest --numprocesses $(WORKERS) --dist loadgroup --no-loadscope-reorder $(TESTS)

newest: ## Run all tests, or TESTS=..., with the newest releases instead of those of constraints.txt
	@rm -rf .venv-newest
	@$(MAKE) --no-print-directory test VENV=.venv-newest CONSTRAINTS=

lowest: ## Run unit and contract tests, or TESTS=..., and the demo with the lowest releases that pyproject.toml allows
	@rm -rf .venv-lowest && mkdir .venv-lowest
	@$(PYTHON) -m tests.lowest_file > .venv-lowest/lowest.txt
	@$(MAKE) --no-print-directory test demo VENV=.venv-lowest CONSTRAINTS=.venv-lowest/lowest.txt \
		TESTS="$(if $(filter command line,$(origin TESTS)),$(TESTS),tests/unit tests/contract)"

pythons: ## Run all tests, or TESTS=..., with each of the Pythons 3.11 to 3.14 that is found here
	@for python in $$(.ci/pythons 3.11 3.12 3.13 3.14); do \
		echo "== $$($$python --version), $$python"; \
		$(MAKE) --no-print-directory test PYTHON=$$python VENV=.venv-$${python##*python} || exit 1; \
	done

constraints: ## Write the newest releases, for each of the Pythons 3.11 to 3.13 that is found here, to constraints.txt
	@$(PYTHON) -m tests.constraints_file $$(.ci/pythons 3.11 3.12 3.13)

chaos: $(VENV)/.develop ## Let everything fail at random under load (SECONDS=3600, SEED=any) and judge what came of it
	@$(RUN)/python -m tests.chaos --json --seconds $(or $(SECONDS),3600) $(if $(SEED),--seed $(SEED))

rolling: $(VENV)/.develop ## Restart a whole set under load, machine after machine, into another version (OLD=commit) and back; as root
	@PATH="$(CURDIR)/$(RUN):$$PATH" $(RUN)/python -m tests.whole_set.rolling $(if $(OLD),--old $(OLD))

outage: $(VENV)/.develop ## Take the bucket's server of a whole set away for five minutes, until its alert has come and gone; as root
	@PATH="$(CURDIR)/$(RUN):$$PATH" $(RUN)/python -m tests.whole_set.outage

matrix: $(VENV)/.develop ## Try the S3 servers, NATS versions, engines and clients found here, for docs/compatibility.md (PART=buckets, PEERS=names)
	@$(RUN)/python -m tests.matrix $(if $(PART),--part $(PART)) $(if $(PEERS),--peers "$(PEERS)")

chart: $(VENV)/.develop ## Render the chart of deploy/helm and hold it against the schemas of Kubernetes, with helm or a go that builds it
	@$(INSTALL) --group helm
	@command -v helm > /dev/null || GOBIN=$(abspath $(RUN)) go install helm.sh/helm/v3/cmd/helm@v3.22.0
	@PATH="$(abspath $(RUN)):$$PATH" TESTS_REQUIRE_HELM=1 $(MAKE) --no-print-directory test TESTS=tests/e2e/test_helm.py WORKERS=1

check: $(VENV)/.develop ## Check style, types and who imports whom
	@$(RUN)/ruff check
	@$(RUN)/ruff format --check
	@$(RUN)/mypy
	@$(RUN)/lint-imports

fix: $(VENV)/.develop ## Put right what can be put right by machine
	@$(RUN)/ruff check --fix
	@$(RUN)/ruff format

pictures: $(VENV)/.develop ## Make the pictures of the page for the documents (apt install chromium-headless-shell fonts-dejavu-core)
	@TESTS_REQUIRE_PROGRAMS=1 TESTS_WRITE_PICTURES=1 $(RUN)/python -m pytest -q tests/e2e/page/test_pictures.py

docs: $(VENV)/.develop ## Make the pages that come from the code, and the site of all documents in build/site
	@$(RUN)/python -m tests.nats_api_page
	@$(RUN)/python -m tests.settings_page
	@$(RUN)/python -m tests.schema_file
	@$(RUN)/python -m tests.blocking_client_file
	@$(RUN)/python -m sphinx -q -W --keep-going -E -c docs -d build/doctrees . build/site
	@echo "The site begins at build/site/index.html"

bench: $(VENV)/.develop ## Measure publishing and fetching against other tools (apt install curl pigz isal rclone)
	@$(RUN)/python -m benchmarks.publish --write-readme
	@$(RUN)/python -m benchmarks.fetch --write-readme

$(VENV)/.release: $(VENV)/.demo
	@$(INSTALL) --group release
	@touch $@

release: $(VENV)/.release ## Build sdist and wheel into dist, check them, and try each with the Pythons 3.11 to 3.14, or PYTHONS="3.12"
	@$(RUN)/python -m tests.release $(PYTHONS)

clean: ## Remove what setup made
	rm -rf .venv .venv-* build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
