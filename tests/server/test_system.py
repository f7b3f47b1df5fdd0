"""What a server owes the system it runs on."""

import json
import resource
import subprocess
import sys
from pathlib import Path

from fakes.fake_server import FAKE_SERVER, serving

REAPER = """
import ctypes, json, os, subprocess, sys, time
from mlm.server.system import reap_orphans

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h: orphans come to us, as they would to process 1
ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
orphan = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', '']).pid)"
pid = int(subprocess.run([sys.executable, "-c", orphan], capture_output=True).stdout)
own = subprocess.Popen([sys.executable, "-c", "raise SystemExit(7)"])
os.waitid(os.P_PID, own.pid, os.WEXITED | os.WNOWAIT)  # both have ended, nobody is reaped
reaped = reap_orphans({own.pid})
code = own.wait()
while pid not in reaped:
    reaped += reap_orphans(set())
print(json.dumps([reaped == [pid], code, reap_orphans(set())]))
"""


def test_orphans_are_reaped_and_our_own_children_are_not():
    done = subprocess.run([sys.executable, "-c", REAPER], capture_output=True, text=True)
    assert done.stdout, done.stderr
    assert json.loads(done.stdout) == [True, 7, []]


def test_the_limit_of_open_files_is_raised_as_far_as_allowed(tmp_path: Path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with serving(tmp_path) as server:
            server.wait_for("Loaded")
            limits = Path(f"/proc/{server.process.pid}/limits").read_text()
            (line,) = [line for line in limits.splitlines() if line.startswith("Max open files")]
            assert int(line.split()[3]) >= 1024
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_with_few_files_allowed_it_says_so_and_serves(tmp_path: Path):
    (tmp_path / "run").mkdir()
    script = f'ulimit -n 80 && exec {" ".join(FAKE_SERVER)} "$0"'
    given = {"models": {"alpha": {}}, "folder": str(tmp_path), "private": True}
    done = subprocess.run(
        ["bash", "-c", script, json.dumps(given)], input="", capture_output=True, text=True
    )
    assert "only 80 files may be open" in done.stderr
    assert done.returncode == 0


def test_a_home_that_cannot_be_written_is_a_usage_error(tmp_path: Path):
    (tmp_path / "home").write_text("a file where the folder should be")
    given = {"models": {"alpha": {}}, "folder": str(tmp_path)}
    done = subprocess.run([*FAKE_SERVER, json.dumps(given)], capture_output=True, text=True)
    assert done.returncode == 2
    assert "cannot write" in done.stdout
    assert "Traceback" not in done.stderr
