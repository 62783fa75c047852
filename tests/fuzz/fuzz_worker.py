"""Try spoilt files one after the other, in a process that may crash or hang: the campaign watches it.

Prints a line of JSON before each case and after it. ``python fuzz_worker.py MODULE NAME:FIRST:LAST ...``
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

MEMORY = 3 << 30  # bytes of address space: what asks for more must say so in one line


def say(**facts: object) -> None:
    """Print one line."""
    sys.__stdout__.write(json.dumps(facts) + "\n")
    sys.__stdout__.flush()


def main(module: str, spans: list[str]) -> None:
    """Run the cases FIRST ... LAST - 1 of each target."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    sys.path.insert(0, str(Path(__file__).parent))
    from fuzz_mutations import file_of

    warnings.simplefilter("ignore", RuntimeWarning)  # numbers that overflow are what was asked for
    targets = importlib.import_module(module).TARGETS
    say(ready=True)
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        for span in spans:
            target_name, first, last = span.split(":")
            folder = Path(name) / target_name
            folder.mkdir()
            target = targets.get(target_name)(folder)
            seeds = target.seeds()
            for case in range(int(first), int(last)):
                say(begin=case, target=target_name)
                try:
                    said = target.try_(file_of(case, seeds, target.ways, target_name))
                except BaseException:  # also what the tests' own time limits would raise
                    say(case=case, bug=traceback.format_exc())
                else:
                    say(case=case, said=said)
    say(done=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
