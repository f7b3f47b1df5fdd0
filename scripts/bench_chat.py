"""How quick `mlm chat` is under a person's fingers, through a real pseudo-terminal.

Method: a server in a process of its own speaks the protocol and streams Markdown (prose, a list,
code, a table) at 100 tokens a second. While an answer comes, characters are typed one at a time,
and the time is taken until the terminal has got each of them back. CPU is user+system seconds of
the chat's process over the same seconds. The time to the prompt is that of a whole process, with
its interpreter, until `>>>` is on the terminal: with the model in a server, and with the demo model
that has to be loaded. First rounds, which may write bytecode, are dropped. The last line is JSON.
"""

import json
import os
import platform
import pty
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psutil

TOKENS_PER_S = 100
ROUNDS = 5
TYPED = [chr(code) for code in range(0x100, 0x100 + 300) if chr(code).isalpha()]  # all distinct
LINE = 40  # characters before the input is emptied
TARGETS = {"echo_p99_ms": 30, "cpu_percent": 15, "warm_s": 0.5, "cold_s": 1.5}
ANSWER = """## A heading of an answer

Some **bold** words, some *slanted* ones and `inline code` in a paragraph that is as long as most
are, so that it wraps at the edge of the terminal a few times before it comes to its end.

- one item
- another item with a longer text that goes on for a while
- a last one

```python
def answer(question: str) -> int:
    # the usual one
    for word in question.split():
        print(word, len(word))
    return 42
```

| name | size | speed |
|---|---:|---:|
| small | 1.2 GB | 90 tok/s |
| large | 8.4 GB | 12 tok/s |

"""


class Paced(BaseHTTPRequestHandler):
    """Answers with Markdown, a token every 10 ms, for as long as the client stays."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        models = {"data": [{"id": "tiny", "meta": {"n_ctx_slot": 32768}}]}
        content = json.dumps(models).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        started = time.perf_counter()
        try:
            for count, token in enumerate(_tokens()):
                time.sleep(max(0, started + count / TOKENS_PER_S - time.perf_counter()))
                chunk = {"choices": [{"index": 0, "delta": {"content": token}}], "model": "tiny"}
                data = b"data: " + json.dumps(chunk).encode() + b"\n\n"
                self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        except OSError:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _tokens() -> Iterator[str]:
    while True:
        for at in range(0, len(ANSWER), 4):
            yield ANSWER[at : at + 4]


def serve() -> None:
    """Be the server, until killed."""
    from mlm.paths import Home, default_home
    from mlm.server.registry import Registry, RunningServer, own_start_time

    with ThreadingHTTPServer(("127.0.0.1", 0), Paced) as listener:
        url = f"http://127.0.0.1:{listener.server_port}"
        models = {"tiny": "/models/tiny.gguf"}
        running = RunningServer(os.getpid(), own_start_time(), url, models, False, False)
        Registry(Home(default_home()).run).announce(running)
        print("ready", flush=True)
        listener.serve_forever()


@contextmanager
def paced_server(environ: dict[str, str]) -> Iterator[None]:
    """Run the server in a process of its own."""
    command = [sys.executable, __file__, "serve"]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()


class Terminal:
    """A chat at a pseudo-terminal of 80 by 24."""

    def __init__(self, ref: str, environ: dict[str, str]) -> None:
        self.started = time.perf_counter()
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.execvpe(sys.executable, [sys.executable, "-m", "mlm", "chat", ref], environ)

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._fd, text.encode())

    def wait_for(self, text: str, timeout_s: float = 60) -> float:
        """Return when ``text`` came, by `time.perf_counter`."""
        wanted, seen = text.encode(), b""
        deadline = time.perf_counter() + timeout_s
        while time.perf_counter() < deadline:
            if not select.select([self._fd], [], [], 1)[0]:
                continue
            seen = seen[-len(wanted) :] + os.read(self._fd, 65536)
            if wanted in seen:
                return time.perf_counter()
        raise TimeoutError(f"{text!r} did not come; the last was {seen[-300:]!r}")

    def listen(self, seconds: float) -> None:
        """Take in what comes, for a while."""
        until = time.perf_counter() + seconds
        while (left := until - time.perf_counter()) > 0:
            if select.select([self._fd], [], [], left)[0]:
                os.read(self._fd, 65536)

    def close(self) -> None:
        """Leave."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._fd)


def measure_stream(environ: dict[str, str]) -> tuple[list[float], float]:
    """Return the seconds until each character came back, and the share of a core that it took."""
    terminal = Terminal("tiny", environ)
    terminal.wait_for(">>>")
    terminal.type("Go on\r")
    terminal.wait_for("heading")
    terminal.listen(3)
    process = psutil.Process(terminal.pid)
    before, started = process.cpu_times(), time.perf_counter()
    terminal.listen(20)
    after, ended = process.cpu_times(), time.perf_counter()
    cpu = (after.user + after.system - before.user - before.system) / (ended - started)
    echoes = []
    for count, char in enumerate(TYPED):
        pressed = time.perf_counter()
        terminal.type(char)
        echoes.append(terminal.wait_for(char) - pressed)
        terminal.listen(0.037)
        if count % LINE == LINE - 1:
            terminal.type("\x15")
    terminal.close()
    return echoes, cpu


def measure_start(ref: str, environ: dict[str, str]) -> list[float]:
    """Return the seconds from the command to its prompt, of each round but the first."""
    times = []
    for _ in range(ROUNDS + 1):
        terminal = Terminal(ref, environ)
        times.append(terminal.wait_for(">>>") - terminal.started)
        terminal.type("\x04")
        os.waitpid(terminal.pid, 0)
    return times[1:]


def main() -> None:
    """Measure and print."""
    print(f"{platform.platform()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as home:
        environ = {**os.environ, "MLM_HOME": home, "HF_HOME": home, "TERM": "xterm-256color"}
        environ.pop("PYTHONDONTWRITEBYTECODE", None)  # installed programs have their bytecode
        environ.pop("NO_COLOR", None)
        download = [sys.executable, "-m", "mlm", "download", "mlm-demo"]
        subprocess.run(download, env=environ, check=True, capture_output=True)
        cold = measure_start("mlm-demo", environ)
        with paced_server(environ):
            warm = measure_start("tiny", environ)
            echoes, cpu = measure_stream(environ)
    echoes_ms = sorted(echo * 1000 for echo in echoes)
    figures = {
        "echo_p50_ms": round(statistics.median(echoes_ms), 1),
        "echo_p99_ms": round(echoes_ms[int(len(echoes_ms) * 0.99)], 1),
        "echo_max_ms": round(echoes_ms[-1], 1),
        "cpu_percent": round(cpu * 100, 1),
        "warm_s": round(statistics.median(warm), 3),
        "cold_s": round(statistics.median(cold), 3),
    }
    print(f"{len(echoes_ms)} characters at {TOKENS_PER_S} tok/s; {ROUNDS} starts each")
    for name, values in (("warm", warm), ("cold", cold)):
        print(f"{name} start: {_spread(values)} s: median (min-max)")
    for name, target in TARGETS.items():
        print(
            f"{name:<12}{figures[name]:>8}  target {target:<5} ratio {figures[name] / target:.2f}"
        )
    print(json.dumps(figures))


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["serve"] else main()
