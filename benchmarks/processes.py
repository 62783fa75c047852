"""Measuring processes: started once, asked many times, so that what is compared takes turns."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from worker import END

from batchbrew.runner.launch import environment_for, find_mpiexec

HERE = Path(__file__).parent
PATIENCE = 10.0  # seconds for a process to end by itself
# Without them glibc hands the memory of large tensors back after every step, and each step pays for new pages.
TUNED = {"MALLOC_TRIM_THRESHOLD_": str(4 << 30), "MALLOC_MMAP_MAX_": "0"}


class Processes:
    """Processes that are asked the same and of which the first answers; started when asked, and anew if they ended.

    ``environments`` are those of the processes, made for each start.
    """

    def __init__(self, command: list[str], environments: Callable[[], list[dict[str, str]]]) -> None:
        self._command, self._environments = command, environments
        self._running: list[subprocess.Popen[str]] = []
        self._base = 0  # bytes of memory at the first answer, when they hold little more than their code
        self._peak = (0, 1)  # the largest batch so far: bytes of memory behind it, and its size

    def ask(self, **request: Any) -> dict[str, Any]:
        """Return the answer to ``request`` about a batch, or {"error": why there is none}."""
        if not self._running:
            self._start()
        line = ""
        with suppress(BrokenPipeError):
            for process in self._running:
                _say(process, request)
            line = self._running[0].stdout.readline()  # type: ignore[union-attr]
        if not line:
            return {"error": self._last_words()}
        answer: dict[str, Any] = json.loads(line)
        if "peak_bytes" in answer:
            self._base = self._base or answer["peak_bytes"]
            if request["batch"] >= self._peak[1]:  # a smaller one took nothing new
                self._peak = (answer["peak_bytes"], request["batch"])
        return answer

    def needs(self, batch: int) -> int:
        """Return how many bytes more a larger batch is going to take, if memory grows as the batch does."""
        held, of = self._peak
        return int(len(self._running) * max(0, held - self._base) * max(0.0, batch / of - 1))

    def close(self) -> None:
        """Let the processes end; those that do not are ended."""
        for process in self._running:
            assert process.stdin is not None and process.stdout is not None
            with suppress(BrokenPipeError):
                _say(process, END)
            with suppress(BrokenPipeError):
                process.stdin.close()
            process.stdout.close()
        for process in self._running:
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.terminate()
                process.wait()
        if self._running:
            self._log.close()
        self._running = []

    def _start(self) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  closed when the processes have ended
        self._peak = (0, 1)
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self._log, "text": True}
        self._running = [subprocess.Popen(self._command, env=env, **pipes) for env in self._environments()]

    def _last_words(self) -> str:
        """Return why the first process has ended, and end the others."""
        code = self._running[0].wait()
        self._log.seek(0)
        lines = self._log.read().decode("utf-8", "replace").strip().splitlines() or ["no message"]
        self.close()
        return f"ended with code {code}: {lines[-1][:200]}"


def _say(process: subprocess.Popen[str], request: dict[str, Any]) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(request) + "\n")
    process.stdin.flush()


def ours(ranks: int, threads: int) -> Processes:
    """Return this engine's process, or ``ranks`` of them that MPI joins."""
    command = [sys.executable, str(HERE / "ours.py")]
    if ranks > 1:
        command = [*find_mpiexec(), "-n", str(ranks), sys.executable, "-m", "mpi4py", str(HERE / "ours.py")]
    return Processes(command, lambda: [environment_for(threads, oversubscribed=False)])


def peer(python: str, ranks: int, tuned: bool) -> Processes:
    """Return PyTorch's process, or ``ranks`` of them that gloo joins; ``tuned``: malloc keeps what it has."""

    def environments() -> list[dict[str, str]]:
        shared = dict(os.environ) | (TUNED if tuned else {})
        if ranks == 1:
            return [shared]
        shared |= {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        return [shared | {"RANK": str(rank)} for rank in range(ranks)]

    return Processes([python, str(HERE / "peer.py")], environments)


def free_port() -> int:
    """Return a port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def available_bytes() -> int:
    """Return the memory that processes can still have, here or in this container; a great number if unknown."""
    found = [1 << 62]
    info = Path("/proc/meminfo")
    if info.exists():
        lines = info.read_text(encoding="utf-8").splitlines()
        found += [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    most, used = (Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory.current"))
    if most.exists() and most.read_text().strip().isdecimal():
        found.append(int(most.read_text()) - int(used.read_text()))
    return min(found)
