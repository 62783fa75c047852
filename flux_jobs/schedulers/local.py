"""No scheduler: the script is run here, by bash, at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, final

from batchbrew.flux_jobs.layout import layout
from batchbrew.flux_jobs.schedulers.base import SCHEDULERS, Scheduler

if TYPE_CHECKING:
    from batchbrew.flux_jobs.job import Job
    from batchbrew.flux_jobs.site import Site

_NO_SCHEDULER = "there is no scheduler to read it; leave it out"


@final
@SCHEDULERS.register("local")
class Local(Scheduler):
    """This machine: the same script as a cluster's, to try a study's submission on."""

    foreground: ClassVar[bool] = True
    foreign: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("partition", "queue", "qos", "exclusive", "procs", "requeue", "signal_seconds"), _NO_SCHEDULER
    )

    def directives(self, job: Job, site: Site) -> list[str]:
        """Return no lines; ranks that do not fit the site's machine are an error here as on a cluster."""
        layout(job.ranks, job.threads, site)
        return []

    def environment(self, job: Job, site: Site) -> dict[str, str]:
        """Return nothing."""
        return {}

    def submit_command(self, script: str) -> list[str]:
        """Return the call that runs the script."""
        return ["bash", script]

    def job_id(self, answer: str) -> str:
        """Return the empty string: a local job has no id."""
        return ""
