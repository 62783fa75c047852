"""``batchbrew data``: prepare data sets, convert data, compute mean pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table

from batchbrew.errors import UserError
from batchbrew.solver.data import convert as converting
from batchbrew.solver.data import dataset, image_files, store
from batchbrew.solver.data.records import Records

_PATH = click.Path(path_type=Path)


@click.group()
def data() -> None:
    """Make, download, convert and list data sets."""


@data.command()
@click.argument("name")
@click.option("--from", "source", type=_PATH, help="Folder or archive with the raw files.")
def make(name: str, source: Path | None) -> None:
    """Prepare NAME from files, or compute it."""
    click.echo(str(dataset.make(name, source, dataset.data_home())))


@data.command()
@click.argument("name")
def get(name: str) -> None:
    """Download NAME, check it and prepare it."""
    with _bar() as progress:
        tasks: dict[str, TaskID] = {}

        def tell(file: str, so_far: int, in_all: int) -> None:
            if file not in tasks:
                tasks[file] = progress.add_task(file)
            progress.update(tasks[file], completed=so_far, total=in_all or None)

        click.echo(str(dataset.get(name, dataset.data_home(), tell)))


@data.command(name="list")
def list_() -> None:
    """List the known data sets and the prepared ones."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("name", "prepared", "train", "test", "shape", "what"):
        table.add_column(heading)
    for row in dataset.listing(dataset.data_home()):
        shape = " x ".join(map(str, row.shape)) if row.shape else ""
        counts = (f"{row.train:,}", f"{row.test:,}") if row.prepared else ("", "")
        table.add_row(row.name, "yes" if row.prepared else "no", *counts, shape, row.note)
    Console().print(table)


@data.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.argument("target", type=_PATH)
@click.option("--gray", is_flag=True, help="Read pictures as gray ones.")
@click.option("--shuffle", is_flag=True, help="Put the pictures of a list in a random order.")
@click.option("--seed", type=int, default=0, help="Which random order.")
@click.option("--resize-width", type=click.IntRange(0), default=0, help="Resize pictures to so many columns.")
@click.option("--resize-height", type=click.IntRange(0), default=0, help="Resize pictures to so many rows.")
@click.option("--check-size", is_flag=True, help="Refuse pictures of several sizes.")
@click.option("--encoded", is_flag=True, help="Store picture files (JPEG, PNG) instead of values.")
@click.option("--encode-type", default="", help="Type of the stored files (jpg, png); default: that of each file.")
def convert(
    sources: tuple[str, ...],
    target: Path,
    *,
    gray: bool,
    shuffle: bool,
    seed: int,
    resize_width: int,
    resize_height: int,
    check_size: bool,
    encoded: bool,
    encode_type: str,
) -> None:
    """Convert data to and from Caffe's LMDB.

    \b
    DATASET FOLDER             two LMDBs in FOLDER: NAME_train_lmdb, NAME_test_lmdb
                               (a known name, a prepared file, raw CIFAR-10 or MNIST files)
    ROOTFOLDER LISTFILE LMDB   an LMDB of the pictures in a list of lines 'path label'
    TRAIN_DB TEST_DB FILE.h5   a prepared data set of two LMDBs or LevelDBs
    DB LMDB                    an LMDB of another LMDB or LevelDB

    What exists already is not overwritten.
    """
    if len(sources) > 2:
        raise UserError(f"data convert takes one or two sources and a target (found {len(sources) + 1} names)")
    if bool(resize_width) != bool(resize_height):
        raise UserError("give --resize-width and --resize-height together, or neither")
    if len(sources) == 2:
        converting.refuse_existing(target)
    stores = [store.is_store(Path(source)) for source in sources]
    if len(sources) == 2 and not all(stores):
        size = (resize_height, resize_width)
        options = converting.ImageOptions(gray, size, check_size, encoded or bool(encode_type), encode_type)
        _convert_list(sources[0], sources[1], target, options, seed if shuffle else None)
    elif len(sources) == 2:
        train, test = (_gathered(source) for source in sources)
        classes = [str(label) for label in range(max(train.highest_label, test.highest_label) + 1)]
        dataset.write_dataset(target, target.stem, classes, train, test)
        click.echo(f"{target}: {len(train):,} training and {len(test):,} test samples")
    elif all(stores):
        opened = store.open_store(Path(sources[0]))
        _write(target, ((key, opened.value(key)) for key in opened.keys), len(opened))
    else:
        _convert_dataset(sources[0], target)


def _convert_dataset(source: str, folder: Path) -> None:
    name, *parts = dataset.read_parts(source)
    digits = 5 if name == "cifar10" else 8  # as Caffe's own tools number them
    targets = [folder / f"{name}_{phase}_lmdb" for phase in ("train", "test")]
    for path in targets:
        converting.refuse_existing(path)
    for path, part in zip(targets, parts, strict=True):
        _write(path, converting.sample_records(part, digits), len(part))


def _convert_list(root: str, source: str, target: Path, options: converting.ImageOptions, seed: int | None) -> None:
    files = image_files.read_list(source)
    skipped: list[str] = []
    try:
        _write(target, converting.image_records(root, files, options, skipped, seed), len(files.names))
    finally:
        if skipped:
            click.echo(
                f"batchbrew: left out {len(skipped)} of {len(files.names)} pictures that cannot be read, "
                f"first {skipped[0]}",
                err=True,
            )


def _write(path: Path, records: Iterable[converting.Record], total: int) -> None:
    with _bar() as progress:
        count = converting.write_lmdb(path, progress.track(records, total, description=path.name))
    click.echo(f"{path}: {count:,} records")


def _gathered(source: str) -> dataset.Part:
    samples = Records(store.open_store(Path(source)))
    with _bar() as progress:
        return converting.gather(samples, progress.track(range(len(samples)), description=source), source)


@data.command()
@click.argument("source")
@click.argument("out", type=_PATH, default="mean.binaryproto")
def mean(source: str, out: Path) -> None:
    """Write the mean picture of SOURCE for mean_file.

    SOURCE is an LMDB, a LevelDB, or a data set, whose training part counts. OUT is mean.binaryproto unless given.
    """
    if store.is_store(Path(source)):
        samples = Records(store.open_store(Path(source)))
        with _bar() as progress:
            numbers = progress.track(range(len(samples)), description=source)
            picture = converting.mean_picture(samples, numbers, source)
    else:
        _, train, _ = dataset.read_parts(source)
        picture = dataset.mean_image(train.images)
    converting.write_mean(out, picture)
    for channel, value in enumerate(picture.mean(axis=(1, 2), dtype=float)):
        click.echo(f"mean_value channel [{channel}]: {value:g}")
    click.echo(str(out))


@contextmanager
def _bar() -> Iterator[Progress]:
    """Show progress on a terminal, nothing elsewhere."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        yield progress
