"""The commands; each group is imported only when it is used, so that ``batchbrew --help`` is fast."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

import click

from batchbrew import __version__
from batchbrew.cli.arguments import normalise
from batchbrew.errors import UserError, did_you_mean

# command -> the module of batchbrew.cli that defines it under the same name (hyphens as underscores)
_COMMANDS = {
    "train": "train",
    "test": "test",
    "time": "time",
    "device-query": "device_query",
    "study": "study",
    "report": "report",
    "check": "check",
    "data": "data",
    "upgrade": "upgrade",
    "submit": "submit",
    "calibrate": "calibrate",
    "worker": "worker",
    "calibrate-worker": "worker",
}
_HIDDEN = {"worker", "calibrate-worker"}


class LazyGroup(click.Group):
    """A group whose commands are imported on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands users call."""
        return [name for name in _COMMANDS if name not in _HIDDEN]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command; an unknown one is answered with the nearest."""
        if cmd_name not in _COMMANDS:
            raise UserError(
                f"unknown command '{cmd_name}'{did_you_mean(cmd_name, self.list_commands(ctx))} "
                f"(known: {', '.join(self.list_commands(ctx))})"
            )
        module = importlib.import_module(f"batchbrew.cli.{_COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        rows = [
            ("train", "Train one net, on one or several nodes."),
            ("test", "Score a trained model on the test data of its net."),
            ("time", "Time every layer of a net."),
            ("device_query", "Say what the work is done on."),
            ("study", "Run or look at a study: a grid of batch sizes, node counts, seeds."),
            ("report", "Write the speedup report of a study."),
            ("check", "Check nets, solvers and studies without running them."),
            ("data", "Make, download and list data sets."),
            ("upgrade", "Write nets, models and solvers of older formats in the current one."),
            ("submit", "Hand a study to a cluster's scheduler."),
            ("calibrate", "Measure compute and communication times for a study."),
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="batchbrew")
def root() -> None:
    """Study how batch size and node count speed up neural-network training."""


def run(arguments: Sequence[str]) -> int:
    """Run one command line; a user's mistake is one line on stderr and exit code 2, never a traceback."""
    try:
        result = root.main(args=normalise(list(arguments)), prog_name="batchbrew", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except UserError as error:
        click.echo(f"batchbrew: error: {error}", err=True)
        return 2
    except click.ClickException as error:
        click.echo(f"batchbrew: error: {' '.join(error.format_message().split())}", err=True)
        return 2
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("batchbrew: interrupted; the same command goes on from the last checkpoint", err=True)
        return 130
    except BrokenPipeError:
        return 1
    except OSError as error:
        place = f"{error.filename}: " if error.filename is not None else ""
        click.echo(f"batchbrew: error: {place}{error.strerror or error}", err=True)
        return 2
    except MemoryError:
        click.echo("batchbrew: error: out of memory", err=True)
        return 2
