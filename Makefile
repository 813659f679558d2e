# Everything a person runs. `make help` lists it; `make build DATASET=demo` needs nothing but python3, git and make.

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
ARGS    ?=
export DATASET RAW MODEL FPS OUT NAME SAMPLE ORG PUBLIC

VENV := .venv
PY   := $(VENV)/bin/python
# Paths may hold spaces, so the shell reads them from the environment and quotes them itself.
WHERE := "$$DATASET" --out "$$OUT" $${NAME:+--name "$$NAME"}

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup need-dataset build verify evaluate card preview page push stats retry new list test test-slow lint types bench clients clean

help: ## show this list
	@echo 'Usage: make TARGET [DATASET=name] [RAW=folder] [MODEL=name] [FPS=1] [OUT=data] [NAME=CLIP-Mine] [ARGS="…"]'
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo 'Start with: make build DATASET=demo'

setup: $(VENV)/.run ## make .venv and install what the project needs
$(VENV)/.run: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'error: Python 3.11 or newer is needed. Name one: make setup PYTHON=python3.12' >&2; exit 2; }
	@test -x $(PY) || $(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo 'error: python3 could not make .venv. On Debian: apt install python3-venv' >&2; exit 2; }
	@echo 'Installing the requirements into .venv (about 5 GB with the CUDA builds of torch; a few minutes, once)'
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.long-video
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

$(VENV)/.long-video: requirements-long-video.txt $(VENV)/.run
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-long-video.txt
	@touch $@

need-dataset:
	@test -n "$$DATASET" || { echo 'error: which dataset? Say DATASET=name; `make list` shows them.' >&2; exit 2; }

build: need-dataset setup ## raw data to a dataset ready for the Hub: encode, pack, card, verify (DATASET=, RAW=)
ifeq ($(DATASET),long-demo)
build: $(VENV)/.long-video
	@$(PY) -m preprocess long-video demo --out "$$OUT" $(ARGS)
else
	@$(PY) -m preprocess build $(WHERE) $${RAW:+--raw "$$RAW"} $${MODEL:+--model "$$MODEL"} $${FPS:+--fps "$$FPS"} $(ARGS)
	@$(PY) -m dataset_cards evaluate $(WHERE)
	@$(PY) -m dataset_cards card $(WHERE) $${ORG:+--org "$$ORG"}
	@$(PY) -m builders verify "$$($(PY) -m preprocess where $(WHERE))"
	@$(PY) -m preprocess report $(WHERE)
endif

retry: need-dataset setup ## try the rejected samples again, then pack and verify
	@$(PY) -m preprocess retry $(WHERE) $(ARGS)
	@$(MAKE) --no-print-directory build ARGS=

list: setup ## list the datasets
	@$(PY) -m preprocess list

evaluate: need-dataset setup ## measure the embeddings: zero-shot, linear probe, retrieval, leakage
	@$(PY) -m dataset_cards evaluate $(WHERE) $(ARGS)

page: need-dataset setup ## write the dataset card as a web page and open it
	@$(PY) -m dataset_cards page $(WHERE) --open $(ARGS)

card: need-dataset setup ## write the dataset card again
	@$(PY) -m dataset_cards card $(WHERE) $${ORG:+--org "$$ORG"} $(ARGS)

verify: need-dataset setup ## check every byte of a built dataset (SAMPLE=100 RAW=: encode so many again, compare)
	@$(PY) -m builders verify "$$($(PY) -m preprocess where $(WHERE))" \
	  $${SAMPLE:+--sample "$$SAMPLE" --dataset "$$DATASET" $${RAW:+--raw "$$RAW"}} $(ARGS)

preview: need-dataset setup ## contact sheets for the Hub's viewer (ARGS="--samples 100 --allow-frames"), then the card
	@$(PY) -m preprocess preview $(WHERE) $${RAW:+--raw "$$RAW"} $(ARGS)
	@$(PY) -m dataset_cards card $(WHERE) $${ORG:+--org "$$ORG"}
	@$(PY) -m builders verify "$$($(PY) -m preprocess where $(WHERE))"

push: need-dataset setup ## verify, then upload to the Hub (ORG=; PUBLIC=1; ARGS="--dry-run")
	@test -n "$$ORG" || { echo 'error: whose repository? Say ORG=name.' >&2; exit 2; }
	@$(PY) -m builders push "$$($(PY) -m preprocess where $(WHERE))" --org "$$ORG" $${PUBLIC:+--public} $(ARGS)

stats: need-dataset setup ## samples, frames, rejects, tars and bytes of a built dataset
	@$(PY) -m builders stats "$$($(PY) -m preprocess where $(WHERE))"

new: need-dataset setup ## start a new dataset: recipe, prose, fixture (DATASET=)
	@$(PY) -m preprocess new "$$DATASET"

test: $(VENV)/.dev ## run the tests (ARGS="-k shards" for some)
	@$(PY) -m pytest -n 2 --dist loadfile $(ARGS)

test-slow: $(VENV)/.dev ## run the tests that take minutes
	@$(PY) -m pytest -m slow $(ARGS)

lint: $(VENV)/.dev ## ruff, and the direction of imports
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/lint-imports

types: $(VENV)/.dev ## mypy, strict
	@$(VENV)/bin/mypy

bench: $(VENV)/.dev ## speed and memory, side by side with peers
	@for bench in benchmarks/[a-z]*.py; do echo "== $$bench"; $(PY) "$$bench" || exit 1; done

clients: $(VENV)/.dev ## other projects' readers on what we write (CLIENTS_DIR= for their checkouts)
	@$(PY) tests/clients/run.py $(ARGS)

clean: ## remove caches of the tools (never data or .venv)
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
