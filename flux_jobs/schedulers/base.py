"""What a scheduler is to batchbrew."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from batchbrew.registry import Registry

if TYPE_CHECKING:
    from batchbrew.flux_jobs.job import Job
    from batchbrew.flux_jobs.site import Site


class Scheduler(ABC):
    """One scheduler: how a job asks it for resources, and how a script is handed to it.

    To add one, put a file in this folder with one class and ``@SCHEDULERS.register("name")``; sites then name it in
    ``scheduler:``. Set

    * ``foreground`` - True if ``submit_command`` runs the job itself and ends with it;
    * ``foreign`` - the site keys this scheduler has no word for, each with what to do instead; a site file that sets
      one is refused, because a wish silently dropped is a wrong job;

    and implement, all pure,

    * ``directives(job, site)`` - the complete comment lines of the script. Build each with ``directive.line``, which
      refuses newlines; take names through ``directive.identifier`` or ``directive.job_name`` and the log's path
      through ``directive.output_file``. None of it can be quoted: the shell does not read these lines. Write a
      scheduler's surprises as comments where they bite;
    * ``environment(job, site)`` - the variables a job needs because of this scheduler, or nothing;
    * ``submit_command(script)`` - the argument list that submits (no shell reads it);
    * ``job_id(answer)`` - the id in what that command printed.

    Then add its three literal sets of directives to ``tests/flux_jobs/test_flux_directives.py``.

    >>> class Oar(Scheduler):
    ...     foreground = False
    ...     foreign = {}
    ...     def directives(self, job, site):
    ...         return [f"#OAR -n {job.name}", f"#OAR -l core={job.ranks * job.threads}"]
    ...     def environment(self, job, site):
    ...         return {}
    ...     def submit_command(self, script):
    ...         return ["oarsub", "-S", script]
    ...     def job_id(self, answer):
    ...         return answer.rpartition("=")[2].strip()
    >>> Oar().job_id("OAR_JOB_ID=42")
    '42'
    """

    foreground: ClassVar[bool]
    foreign: ClassVar[Mapping[str, str]]

    @abstractmethod
    def directives(self, job: Job, site: Site) -> list[str]:
        """Return the script's directive lines."""

    @abstractmethod
    def environment(self, job: Job, site: Site) -> dict[str, str]:
        """Return the variables the job needs because of this scheduler."""

    @abstractmethod
    def submit_command(self, script: str) -> list[str]:
        """Return the argument list that hands over ``script``, run from the script's folder."""

    @abstractmethod
    def job_id(self, answer: str) -> str:
        """Return the job's id from what the submit command printed."""


SCHEDULERS: Registry[type[Scheduler]] = Registry("scheduler")
