"""``batchbrew device_query``: what the work is done on."""

from __future__ import annotations

import os
import platform

import click


@click.command()
@click.option("--gpu", default="", help="Accepted for Caffe's scripts.")
def device_query(gpu: str) -> None:
    """Say what the work is done on; there is no GPU to ask about."""
    from batchbrew.solver.kernels import available, choose

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    asked = f"--gpu={gpu}: " if gpu else ""
    click.echo(
        f"{asked}no GPU is used: {cores} cores ({platform.machine()}), kernels {choose()} of {', '.join(available())}"
    )
