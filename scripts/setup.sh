#!/usr/bin/env bash
# Makes .venv, with exactly what requirements.lock names: PYTHON=python3.12 scripts/setup.sh
set -euo pipefail
cd "$(dirname "$0")/.."
lock=requirements.lock

if command -v uv >/dev/null; then
  export VIRTUAL_ENV=.venv
  uv venv --quiet --clear --python "${PYTHON:-python3}" .venv
  install() { uv pip install --quiet "$@"; }
  forget_build() { uv cache clean --quiet llama-cpp-python; }
else
  "${PYTHON:-python3}" -m venv --clear .venv
  pip() { .venv/bin/python -m pip --quiet --disable-pip-version-check "$@"; }
  install() { pip install "$@"; }
  forget_build() { pip cache remove llama_cpp_python; }
fi

install --require-hashes -r "$lock"
install --no-deps -e .

# Builds are kept by version, whatever they were built with: one without vision is of no use.
if ! .venv/bin/python -c "import llama_cpp.mtmd_cpp" 2>/dev/null; then
  echo "The build of llama.cpp that was kept takes no pictures; another is built"
  fresh=""
  forget_build || fresh=--no-cache-dir
  awk '/^llama-cpp-python==/ { on = 1 } on { print } on && !/\\$/ { exit }' "$lock" >.venv/llama.txt
  install ${fresh:+"$fresh"} --force-reinstall --no-deps --require-hashes -r .venv/llama.txt
fi
