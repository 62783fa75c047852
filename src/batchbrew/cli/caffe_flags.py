"""The flags that Caffe's own commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from batchbrew.errors import UserError
from batchbrew.glog import log

if TYPE_CHECKING:
    from batchbrew.solver.net import Net

Command = TypeVar("Command", bound=Callable[..., Any])


def _allow(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        os.environ["BATCHBREW_PYTHON_LAYERS"] = "1"


def python_layers(command: Command) -> Command:
    """Add --allow-python-layers to a command."""
    text = "Let the net run the Python classes it names."
    return click.option("--allow-python-layers", is_flag=True, expose_value=False, callback=_allow, help=text)(command)


def state_flags(command: Command) -> Command:
    """Add --gpu, --level, --stage and --allow-python-layers to a command."""
    command = python_layers(command)
    command = click.option("--stage", default="", help="Stages of the net's state, with commas between them.")(command)
    command = click.option("--level", type=int, default=0, help="Level of the net's state.")(command)
    return click.option("--gpu", default="", help="Accepted for Caffe's scripts; the work is done on CPU cores.")(
        command
    )


def stages(text: str) -> list[str]:
    """Return the stages of a --stage flag.

    >>> stages("train,deploy"), stages("")
    (['train', 'deploy'], [])
    """
    return [stage for stage in text.split(",") if stage]


def use_cpu(gpu: str) -> None:
    """Say what the work is done on."""
    if gpu:
        log("caffe.cpp:99", f"--gpu={gpu} is not used: there is no GPU engine", "W")
    log("caffe.cpp:260", "Use CPU.")


def needed(value: object, what: str, flag: str) -> None:
    """Raise UserError, in Caffe's words, where a flag is missing."""
    if not value:
        raise UserError(f"Need {what}: give --{flag}")


def build(model: str, phase: int, level: int, stage: str, **options: Any) -> Net:
    """Return the net of a prototxt in ``phase``."""
    from batchbrew.solver.load import read_net_file

    return read_net_file(model).build(phase, level=level, stages=stages(stage), **options)
