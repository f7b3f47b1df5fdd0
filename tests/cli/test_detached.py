"""What servers in the background leave behind."""

import os
from pathlib import Path

from mlm.cli._detached import remove_old_logs

ENDED = 4_194_304  # no process has this number: Linux's highest is one less


def test_logs_of_servers_that_have_ended_do_not_pile_up(tmp_path: Path):
    for age in range(25):
        log = tmp_path / f"serve-{ENDED + age}.log"
        log.touch()
        os.utime(log, (1e9 - age, 1e9 - age))
    running = tmp_path / f"serve-{os.getpid()}.log"
    running.touch()
    os.utime(running, (0, 0))
    (tmp_path / "mlm-demo.log").touch()

    remove_old_logs(tmp_path)

    kept = {path.name for path in tmp_path.iterdir()}
    newest = {f"serve-{ENDED + age}.log" for age in range(20)}
    assert kept == newest | {running.name, "mlm-demo.log"}
