# Every command of the project; `make help` lists them. `make build DATASET=demo` needs python3 and make only.

PYTHON  ?= python3
DATASET ?=
RAW     ?=
MODEL   ?=
FPS     ?=
OUT     ?= data
NAME    ?=
SAMPLE  ?=
ORG     ?=
PUBLIC  ?=
ENGINE  ?=
EXECUTOR ?=
ARGS    ?=
PEERS   ?= $(CURDIR)/.venv-peers
COVERAGE :=
export DATASET RAW MODEL FPS OUT NAME SAMPLE ORG PUBLIC ENGINE EXECUTOR PEERS

VENV := .venv
PY   := $(VENV)/bin/python
# Paths may contain spaces: the shell reads them from the environment and quotes them.
WHERE := "$$DATASET" --out "$$OUT" $${NAME:+--name "$$NAME"} $${MODEL:+--model "$$MODEL"}
# A dataset has one output per encoder: `$(EACH) command "$$folder" $(OR_FAIL)` runs a command on each of them.
EACH    = $(PY) -m preprocess where $(WHERE) | while IFS= read -r folder; do
OR_FAIL = || exit $$?; done
# What follows when a dataset has been packed.
define FINISH
@$(PY) -m dataset_cards evaluate $(WHERE) $${EXECUTOR:+--executor "$$EXECUTOR"}
	@$(PY) -m dataset_cards card $(WHERE) $${ORG:+--org "$$ORG"}
	@$(EACH) $(PY) -m builders verify "$$folder" $${EXECUTOR:+--executor "$$EXECUTOR"} $(OR_FAIL)
	@$(PY) -m preprocess report $(WHERE)
endef

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup dev need-dataset download build verify evaluate card preview page explore push push-space stats retry new \
        list test test-slow mutants fuzz coverage lint types bench bench-peers clients clean

help: ## show this help
	@echo 'Usage: make TARGET [VARIABLE=value …]'
	@awk -F '## ?' '/^## / {printf "\n%s:\n", $$2} \
	  /^[a-z-]+:.*## / {sub(/:.*/, "", $$1); printf "  %-11s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@printf '\nVariables:\n'
	@printf '  %-11s %s\n' \
	  DATASET 'name of a dataset; `make list` shows them' \
	  RAW     'its raw folder, or the table file of `table`' \
	  MODEL   'Hub id or folder of the model, or tiny-clip' \
	  FPS     'frames per second (1)' \
	  OUT     'output folder (data)' \
	  NAME    'name of the built dataset, such as CLIP-Mine' \
  ENGINE   'what runs the encoder: torch, or openvino (CPUs)' \
  EXECUTOR 'where work runs: local, or ray (a cluster)' \
	  ARGS    'further options of the command, such as ARGS="--workers 2"'
	@printf '\nStart with: make build DATASET=demo\n'

## Setup

setup: $(VENV)/.run ## create .venv and install the requirements
$(VENV)/.run: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'error: Python 3.11 or newer is required. Choose one: make setup PYTHON=python3.12' >&2; exit 2; }
	@test -x $(PY) || $(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo 'error: python3 could not create .venv. On Debian: apt install python3-venv' >&2; exit 2; }
	@echo 'Installing the requirements into .venv (about 5 GB with the CUDA builds of torch; a few minutes, once)'
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

# requirements.txt each time, so that no extra package can move one of its pins.
$(VENV)/.long-video: requirements-long-video.txt $(VENV)/.run
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-long-video.txt
	@touch $@

ifeq ($(EXECUTOR),ray)
setup: $(VENV)/.ray
endif
ifeq ($(ENGINE),openvino)
setup: $(VENV)/.openvino
endif
ifneq ($(findstring gs://,$(RAW) $(OUT))$(findstring gcs://,$(RAW) $(OUT)),)
setup: $(VENV)/.gcs
endif
ifneq ($(findstring az://,$(RAW) $(OUT))$(findstring abfs://,$(RAW) $(OUT)),)
setup: $(VENV)/.azure
endif
$(VENV)/.ray $(VENV)/.openvino $(VENV)/.gcs $(VENV)/.azure: $(VENV)/.%: requirements-%.txt $(VENV)/.run
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt -r $<
	@touch $@

dev: $(VENV)/.dev ## also install what the tests and linters need
$(VENV)/.dev: requirements-dev.txt requirements-ray.txt requirements-openvino.txt requirements-gcs.txt $(VENV)/.long-video $(VENV)/.explore
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-long-video.txt \
	  -r requirements-dev.txt
	@touch $@

$(VENV)/.explore: requirements-explore.txt requirements-gradio.txt $(VENV)/.run
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt -r requirements-explore.txt
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-gradio.txt
	@touch $@

need-dataset:
	@test -n "$$DATASET" || { echo 'error: no dataset given. Set DATASET=name; `make list` shows them.' >&2; exit 2; }

## Build
download: need-dataset setup ## show the raw files of a dataset, download those with a public address (DATASET=, RAW=)
	@$(PY) -m preprocess download "$$DATASET" $${RAW:+--raw "$$RAW"} $(ARGS)

build: need-dataset setup ## raw data to a dataset ready for the Hub (DATASET=, RAW=)
ifeq ($(DATASET),long-demo)
build: $(VENV)/.long-video
	@$(PY) -m preprocess long-video demo --out "$$OUT" $(ARGS)
else
	@$(PY) -m preprocess build $(WHERE) $${RAW:+--raw "$$RAW"} $${FPS:+--fps "$$FPS"} \
	  $${ENGINE:+--engine "$$ENGINE"} $${EXECUTOR:+--executor "$$EXECUTOR"} $(ARGS)
	$(FINISH)
endif

retry: need-dataset setup ## encode the rejected samples again, then pack and verify
	@$(PY) -m preprocess retry $(WHERE) $${EXECUTOR:+--executor "$$EXECUTOR"} $(ARGS)
	$(FINISH)

list: setup ## list the datasets and what they are licensed under
	@$(PY) -m preprocess list

## Describe and publish
evaluate: need-dataset setup ## evaluate the embeddings: zero-shot, linear probe, retrieval, leakage
	@$(PY) -m dataset_cards evaluate $(WHERE) $${EXECUTOR:+--executor "$$EXECUTOR"} $(ARGS)

page: need-dataset setup ## render the dataset card as a web page and open it
	@$(PY) -m dataset_cards page $(WHERE) --open $(ARGS)

card: need-dataset setup ## write the dataset card
	@$(PY) -m dataset_cards card $(WHERE) $${ORG:+--org "$$ORG"} $(ARGS)

# With SAMPLE, both checks run whatever the first one finds; the exit code is that of the last one that failed.
verify: need-dataset setup ## check every byte of a built dataset (SAMPLE=100 RAW=: also encode 100 samples again)
	@failed=0; { $(EACH) $(PY) -m builders verify "$$folder" $${EXECUTOR:+--executor "$$EXECUTOR"} $(ARGS) \
	  $(OR_FAIL); } || failed=$$?; \
	  if test -n "$$SAMPLE"; then \
	    $(PY) -m preprocess recheck $(WHERE) -n "$$SAMPLE" $${RAW:+--raw "$$RAW"} \
	      $${EXECUTOR:+--executor "$$EXECUTOR"} || failed=$$?; \
	  fi; exit $$failed

preview: need-dataset setup ## add contact sheets for the Hub's viewer (ARGS="--samples 100 --allow-frames")
	@$(PY) -m preprocess preview $(WHERE) $${RAW:+--raw "$$RAW"} $${EXECUTOR:+--executor "$$EXECUTOR"} $(ARGS)
	@$(PY) -m dataset_cards card $(WHERE) $${ORG:+--org "$$ORG"}
	@$(EACH) $(PY) -m builders verify "$$folder" $(OR_FAIL)

push: need-dataset setup ## verify, then upload to the Hub (ORG=; PUBLIC=1; ARGS="--dry-run")
	@test -n "$$ORG" || { echo 'error: no organization given. Set ORG=name.' >&2; exit 2; }
	@$(EACH) $(PY) -m builders push "$$folder" --org "$$ORG" $${PUBLIC:+--public} $(ARGS) $(OR_FAIL)

explore: need-dataset setup $(VENV)/.explore ## search a built dataset on a local page: sentence to moment, map (RAW=)
	@$(PY) -m explorer page "$$($(PY) -m preprocess where $(WHERE))" $${RAW:+--raw "$$RAW"} --open $(ARGS)

push-space: need-dataset setup $(VENV)/.explore ## publish that page of a pushed dataset as a Space (ORG=; PUBLIC=1)
	@test -n "$$ORG" || { echo 'error: no organization given. Set ORG=name.' >&2; exit 2; }
	@$(EACH) $(PY) -m explorer space "$$folder" --org "$$ORG" $${PUBLIC:+--public} $(ARGS) $(OR_FAIL)

stats: need-dataset setup ## print samples, frames, rejects, shards and bytes of a built dataset
	@$(EACH) $(PY) -m builders stats "$$folder" $(OR_FAIL)

new: need-dataset setup ## add a dataset: recipe, prose, fixture (DATASET=)
	@$(PY) -m preprocess new "$$DATASET"

## Develop
# Without a restart, a test process that crashes is a failure that names its test; after one, pytest-xdist waits for ever.
test: $(VENV)/.dev ## run the tests (ARGS="-k shards": some of them)
	@$(PY) $(COVERAGE) -m pytest -n 2 --dist loadfile --max-worker-restart 0 $(ARGS)

test-slow: $(VENV)/.dev ## run the tests that take minutes
	@$(PY) -m pytest -m slow $(ARGS)

mutants: $(VENV)/.dev ## introduce small faults, one at a time, and run the tests that must fail (ARGS="-k sampling")
	@$(PY) -m tests.mutants $(ARGS)

fuzz: $(VENV)/.dev ## fuzz the parsers, 100,000 inputs each (ARGS="npy tar --runs 1000": some of them)
	@$(PY) -m tests.fuzz.run $(ARGS)

coverage: COVERAGE := -m coverage run
coverage: no-old-coverage test ## run the tests and check the coverage floor of pyproject.toml
	@$(PY) -m coverage combine --quiet
	@$(PY) -m coverage report
	@$(PY) .ci/floor.py

.PHONY: no-old-coverage
no-old-coverage: $(VENV)/.dev
	@$(PY) -m coverage erase

lint: $(VENV)/.dev ## run ruff and check the import contracts
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/lint-imports

types: $(VENV)/.dev ## run mypy, strict
	@$(VENV)/bin/mypy

bench: $(VENV)/.dev ## measure speed and memory, next to other libraries (hours; `make bench-peers` first; ROUNDS=1: once each)
	@failed=; for bench in benchmarks/[a-z]*.py; do \
	  echo "== $$bench"; $(PY) "$$bench" || failed="$$failed $$bench"; done; \
	  $(PY) -m benchmarks.harness.table && if test -n "$$failed"; then echo "error: failed:$$failed" >&2; exit 1; fi

bench-peers: $(patsubst benchmarks/peers/%.txt,bench-peer-%,$(filter-out %.no-deps.txt,$(wildcard benchmarks/peers/*.txt)))
bench-peers: ## install the libraries that `make bench` compares with (PEERS=: where; 8 GB)
# A library that does not install is not an error: `failed.txt` holds the reason, and benchmark results state it.
bench-peer-%: benchmarks/peers/%.txt
	@test -x "$$PEERS/$*/bin/python" || $(PYTHON) -m venv "$$PEERS/$*"
	@rm -f "$$PEERS/$*/failed.txt"
	@install() { "$$PEERS/$*/bin/python" -m pip install --quiet --disable-pip-version-check "$$@"; }; \
	  extra=benchmarks/peers/$*.no-deps.txt; \
	  { install -r $< && { ! test -f $$extra || install --no-deps -r $$extra; }; } 2> "$$PEERS/$*/pip.log" || \
	  { cp "$$PEERS/$*/pip.log" "$$PEERS/$*/failed.txt"; echo "note: $* does not install: $$PEERS/$*/failed.txt"; }

clients: $(VENV)/.dev ## run other projects' readers on a built dataset (CLIENTS_DIR=: their checkouts)
	@$(PY) tests/clients/run.py $(ARGS)

clean: ## remove caches and build files (never data or .venv)
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage .coverage.* dist
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
