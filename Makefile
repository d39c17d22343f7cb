# Two commands from a clean clone: `make demo` and `make test`. Everything lives in .venv and demo-out.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
EXTRAS := onnx,tflite,serial,convert,fleet,broker,demo
PYTEST_ARGS ?=
FUZZ_ARGS ?= --cases 100000
BENCH_ARGS ?=

.PHONY: demo test test-systemd test-arm lint fuzz bench bench-convert bench-inference soak clean help

help:            ## this text
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 18

demo: $(VENV)/.demo    ## the main job on real input: convert, serve, update over the air, refuse, survive
	$(BIN)/python -m examples.demo

test: $(VENV)/.test    ## every test that needs no machine of its own
	$(BIN)/python -m pytest -m "not machine" $(PYTEST_ARGS)

test-systemd: $(VENV)/.test    ## real systemd in a container (root; installs Debian packages it needs)
	PYTHON=$(abspath $(BIN)/python) tests/machines/test_systemd.sh

test-arm: $(VENV)/.test    ## the agent and the fast tests on arm64 and armhf under emulation (root)
	PYTHON=$(abspath $(BIN)/python) tests/machines/test_arm.sh

lint: $(VENV)/.test    ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --config setup.cfg

fuzz: $(VENV)/.test    ## damaged and lying files of every kind that is read; FUZZ_ARGS="--cases 100000 --assets FOLDER"
	$(BIN)/python -m fuzz $(FUZZ_ARGS)

bench: $(VENV)/.test    ## every figure, on this machine
	$(BIN)/python -m benchmarks

bench-convert: $(VENV)/.test    ## the converter's figures beside its peers, each in an environment of its own (pip, once)
	$(BIN)/python -m benchmarks convert

bench-inference: $(VENV)/.test    ## the inference plane's figures beside its peers (Triton, MLServer, ...); BENCH_ARGS=--quick
	$(BIN)/python -m benchmarks inference $(BENCH_ARGS)

soak: $(VENV)/.test    ## an hour at 100 Hz with something harmed every few seconds (Mosquitto on PATH); BENCH_ARGS=--quick: two minutes
	$(BIN)/python -m benchmarks soak $(BENCH_ARGS)

clean:           ## forget everything that was made here
	rm -rf $(VENV) demo-out build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .machine-*

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "Python 3.10 or newer is needed: make PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "$(PYTHON) cannot make a virtual environment: on Debian, apt install python3-venv"; exit 1; }

$(VENV)/.demo: setup.cfg pyproject.toml | $(VENV)/bin/python
	@echo "Installing into $(VENV): half a minute to a few, once"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[$(EXTRAS)]'
	@touch $@

$(VENV)/.test: setup.cfg pyproject.toml | $(VENV)/bin/python
	@echo "Installing into $(VENV): half a minute to a few, once"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[$(EXTRAS),test]'
	@touch $@ $(VENV)/.demo
