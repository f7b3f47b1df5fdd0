"""Stands in for pip: takes pip's command lines, and nothing else; "compiles" in no time.

The environment says what comes of it: FAKE_PIP_PACKAGE is the folder that a wheel is made of,
FAKE_PIP_SITE where wheels are installed, FAKE_PIP_LOG where command lines are noted,
FAKE_PIP_FAILS the command that fails.
"""

import argparse
import json
import os
import sys
import zipfile
from pathlib import Path

WHEEL = "llama_cpp_python-0.3.99-py3-none-any.whl"


def main() -> int:
    parser = argparse.ArgumentParser(prog="pip", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("wheel", "install"):
        command = commands.add_parser(name, allow_abbrev=False)
        for flag in ("--no-input", "--disable-pip-version-check", "--no-deps", "--no-cache-dir"):
            command.add_argument(flag, action="store_true")
        command.add_argument("-v", "--verbose", action="store_true")
        command.add_argument("--no-binary")
        command.add_argument("requirements", nargs="+")
    commands.choices["wheel"].add_argument("-w", "--wheel-dir", type=Path)
    for flag in ("--no-index", "--force-reinstall"):
        commands.choices["install"].add_argument(flag, action="store_true")
    options = parser.parse_args()
    note = {
        "command": options.command,
        "requirements": options.requirements,
        "no_cache": options.no_cache_dir,
        "no_binary": options.no_binary,
        "CMAKE_ARGS": os.environ.get("CMAKE_ARGS"),
        "jobs": os.environ.get("CMAKE_BUILD_PARALLEL_LEVEL"),
    }
    with Path(os.environ["FAKE_PIP_LOG"]).open("a") as log:
        log.write(json.dumps(note) + "\n")
    print(f"Processing {options.requirements}")
    if os.environ.get("FAKE_PIP_FAILS") == options.command:
        print("CMake Error at CMakeLists.txt:1 (find_package): Could not find CUDA")
        print("ERROR: Failed building wheel for llama-cpp-python", file=sys.stderr)
        return 1
    if options.command == "wheel":
        for done in range(0, 301, 3):
            print(f"  [{done}/300] Building CXX object ggml.cpp.o")
        make_wheel(Path(os.environ["FAKE_PIP_PACKAGE"]), options.wheel_dir / WHEEL)
    for text in options.requirements:
        if text.endswith(".whl"):
            zipfile.ZipFile(text).extractall(os.environ["FAKE_PIP_SITE"])
    return 0


def make_wheel(package: Path, path: Path) -> None:
    info = "llama_cpp_python-0.3.99.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        for file in package.rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                wheel.write(file, Path(package.name, file.relative_to(package)))
        metadata = "Metadata-Version: 2.1\nName: llama_cpp_python\nVersion: 0.3.99\n"
        needs = "Requires-Dist: numpy>=1.20.0\nRequires-Dist: jinja2>=2.11.3\n"
        extra = 'Requires-Dist: fastapi>=0.100; extra == "server"\n'
        wheel.writestr(f"{info}/METADATA", metadata + needs + extra)


if __name__ == "__main__":
    sys.exit(main())
