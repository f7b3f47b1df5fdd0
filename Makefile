# Every target sets itself up: a clone, Python >= 3.11, a C++ compiler and a package index are enough.
PYTHON ?= python3
BIN := .venv/bin
# llama.cpp fetches nothing here and shows no films: without TLS and video the build is shorter.
export CMAKE_ARGS ?= -DLLAMA_OPENSSL=OFF -DMTMD_VIDEO=OFF
export CMAKE_BUILD_PARALLEL_LEVEL ?= $(shell getconf _NPROCESSORS_ONLN)

.PHONY: setup check test test-all demo bench soak docs lock
setup: .venv/ready

.venv/ready: requirements.lock pyproject.toml scripts/setup.sh
	@echo "Setting up .venv (the first build of llama.cpp takes a few minutes)"
	@PYTHON="$(PYTHON)" scripts/setup.sh
	@$(BIN)/python -m compileall -q mlm  # as an installer would: else start-up pays for compiling
	@touch $@

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: setup
	$(BIN)/python -m pytest -n auto -m "not slow and not model and not gpu and not network"

test-all: setup
	$(BIN)/python -m pytest -n auto -m "not gpu and not network"

demo: setup
	@$(BIN)/mlm demo

# Speed is measured here and nowhere else; every line says how, on what, and as which ratio.
# With LLAMA_SERVER=path of a llama-server, also the engine beside it (an hour and a half).
bench: setup
	$(BIN)/python scripts/bench_startup.py
	$(BIN)/python scripts/bench_demo.py
	$(BIN)/python scripts/bench_cache.py
	$(BIN)/python scripts/bench_download.py
	$(BIN)/python scripts/bench_gateway.py mlm/demo/mlm-demo.gguf
	$(if $(LLAMA_SERVER),$(BIN)/python scripts/bench_engine.py $(LLAMA_SERVER))

# What a server survives: crashes, overload, kill -9, an hour of everything. SUITES=kills picks one.
soak: setup
	$(BIN)/python scripts/soak_server.py $(SUITES)

# What is generated from the code: docs/reference, man/ and what shells complete.
docs: setup
	$(BIN)/python scripts/generate_reference.py

# Pins for every platform: versions and hashes, no addresses; the second has what runs, and no tools
# of development. Needs uv.
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" --extra llama
lock:
	$(LOCK) --group dev pyproject.toml -o requirements.lock
	$(LOCK) -c requirements.lock pyproject.toml -o requirements-run.lock
