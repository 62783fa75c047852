"""Command lines written for Caffe, in the form our commands read."""

from __future__ import annotations

import os
import re
from pathlib import Path

from batchbrew.errors import UserError
from batchbrew.glog import LEAST_LEVEL

CAFFE_COMMANDS = ("train", "test", "time", "device_query", "device-query")
_LONG_FLAG = re.compile(r"-[A-Za-z][\w-]+(=.*)?", re.DOTALL)
# Flags of Caffe's logging library that choose where lines go: ours go to stderr.
_LOGGING = {"logtostderr", "alsologtostderr", "colorlogtostderr", "log-dir", "stderrthreshold", "log-prefix", "v"}
_SWITCHES = {"logtostderr", "alsologtostderr", "colorlogtostderr", "log-prefix"}


def normalise(arguments: list[str]) -> list[str]:
    """Return ``arguments`` with Caffe's way of writing flags turned into ours.

    One dash or two, hyphens or underscores, the command anywhere, ``--flagfile``; flags of Caffe's logging library are
    dropped, but for ``--minloglevel``, which sets GLOG_minloglevel.

    >>> normalise(["train", "-solver=x.prototxt", "--max_updates", "3"])
    ['train', '--solver=x.prototxt', '--max-updates', '3']
    >>> normalise(["-model", "net.prototxt", "time", "-logtostderr=1"])
    ['time', '--model', 'net.prototxt']
    """
    found = _drop_logging(_spelled(_with_flag_files(arguments)))
    if found and found[0].startswith("--"):
        command = next((word for word in found if word in CAFFE_COMMANDS), None)
        if command is not None:
            found.remove(command)
            found.insert(0, command)
    if found and found[0] == "device_query":
        found[0] = "device-query"
    return found


def _with_flag_files(arguments: list[str]) -> list[str]:
    """Put the lines of each --flagfile in its place; lines that begin with # are comments."""
    result: list[str] = []
    for argument in arguments:
        name, _, value = argument.lstrip("-").partition("=")
        if not (argument.startswith("-") and name == "flagfile"):
            result.append(argument)
            continue
        try:
            lines = Path(value).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not a text file"
            raise UserError(f"--flagfile {value}: cannot be read ({reason})") from None
        result += [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    return result


def _spelled(arguments: list[str]) -> list[str]:
    """Write every flag with two dashes and with hyphens."""
    result: list[str] = []
    for i, argument in enumerate(arguments):
        if argument == "--":
            return result + arguments[i:]
        if _LONG_FLAG.fullmatch(argument):
            argument = f"-{argument}"  # noqa: PLW2901
        if argument.startswith("--"):
            name, equals, value = argument.partition("=")
            argument = name.replace("_", "-") + equals + value  # noqa: PLW2901
        result.append(argument)
    return result


def _drop_logging(arguments: list[str]) -> list[str]:
    result: list[str] = []
    skip = False
    for i, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        name = name.removeprefix("--") if argument.startswith("--") else ""
        if skip:
            skip = False
        elif name == "minloglevel":
            skip = not equals
            os.environ[LEAST_LEVEL] = value or "".join(arguments[i + 1 : i + 2])
        elif name in _LOGGING or name.removeprefix("no") in _SWITCHES:
            skip = not equals and name not in _SWITCHES and name.removeprefix("no") not in _SWITCHES
        else:
            result.append(argument)
    return result
