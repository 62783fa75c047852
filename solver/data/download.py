"""Fetch official files: checked before they are used, continued after an interruption, never half-done."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import tarfile
import zlib
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path
from typing import IO

from batchbrew.errors import UserError
from batchbrew.solver.data.sources import Download

# Called with (file name, bytes so far, bytes in all) after every block.
Progress = Callable[[str, int, int], None]

BLOCK = 1 << 20
TIMEOUT_SECONDS = 30.0
UNPACKED_LIMIT = 1 << 31  # bytes an archive may unpack to; CIFAR-10 needs 0.2 x 10**9
ARCHIVES = (".tar.gz", ".tgz", ".tar")


def fetch(download: Download, folder: Path, progress: Progress | None = None) -> Path:
    """Return ``folder``/``download.name``, fetched unless it is there, its checksum verified.

    The bytes arrive in ``<name>.part``; an interrupted download is continued from there by the next call. The file gets
    its name only after the checksum is right. Raises UserError if no place delivers it, if what came is not the
    expected file (it is removed), or if another process is fetching the same file.
    """
    target = folder / download.name
    if target.is_file() and checksum(target, download.checksum) == download.checksum:
        return target
    partial = folder / f"{download.name}.part"
    failures = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _only_one(partial):
            for url in download.urls:
                try:
                    _receive(url, partial, download, progress)
                    break
                except (OSError, ValueError, HTTPException) as error:
                    failures.append(f"{url}: {getattr(error, 'reason', None) or error}")
            else:
                raise UserError(
                    f"cannot download {download.name}: {'; '.join(failures)} - run the command again to continue, or "
                    "fetch the file elsewhere and use 'batchbrew data make NAME --from FILE'"
                )
            found = checksum(partial, download.checksum)
            if found != download.checksum:
                partial.unlink()
                raise UserError(
                    f"{url}: the file received has checksum {found}, expected {download.checksum}; "
                    "it was removed - try again later"
                )
            partial.replace(target)
    except OSError as error:
        raise UserError(f"{target}: cannot write the download: {error.strerror or error}") from None
    return target


def checksum(path: Path, like: str) -> str:
    """Return the checksum of a file as ``<algorithm>:<hex>`` with the algorithm of ``like``."""
    algorithm = like.partition(":")[0]
    with path.open("rb") as file:
        # md5 is what the CIFAR-10 page publishes; it guards against accidents here, not against an attacker.
        digest = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False))
    return f"{algorithm}:{digest.hexdigest()}"


def is_archive(path: Path) -> bool:
    """Return whether the name of ``path`` is that of a tar archive."""
    return path.name.endswith(ARCHIVES)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a tar archive below ``folder``; only plain files and folders that stay inside it are accepted.

    Raises UserError for a damaged archive, for one with links, devices or paths that lead outside (nothing of such an
    archive is written), and for one that unpacks to more than UNPACKED_LIMIT bytes.
    """
    try:
        with tarfile.open(archive, "r:*") as tar:
            members = tar.getmembers()
            for member in members:
                _check_member(archive, member, folder)
            if sum(member.size for member in members) > UNPACKED_LIMIT:
                raise UserError(f"{archive}: unpacks to more than {UNPACKED_LIMIT} bytes, not a known data set")
            while tar.fileobj is not None and tar.fileobj.read(BLOCK):
                pass  # to the very end, where gzip keeps the checksum of everything before
            tar.extractall(folder, members, filter="data")
    except (tarfile.TarError, EOFError, zlib.error, ValueError, OSError) as error:
        raise UserError(f"{archive}: cannot unpack, damaged or cut short ({error}) - get it again") from None


def _check_member(archive: Path, member: tarfile.TarInfo, folder: Path) -> None:
    if not member.isreg() and not member.isdir():
        raise UserError(
            f"{archive}: '{member.name}' in it is a link or a device - this is no data set's archive, do not use it"
        )
    try:
        tarfile.data_filter(member, str(folder))
    except tarfile.FilterError:
        raise UserError(
            f"{archive}: '{member.name}' in it leads outside - this is no data set's archive, do not use it"
        ) from None


def _receive(url: str, partial: Path, download: Download, progress: Progress | None) -> None:
    """Append the rest of ``url`` to ``partial``, or all of it if the server cannot continue."""
    from urllib.request import Request, urlopen

    done = partial.stat().st_size
    if done >= download.size:
        return
    request = Request(url, headers={"Range": f"bytes={done}-", "User-Agent": "batchbrew"})
    with urlopen(request, timeout=TIMEOUT_SECONDS) as response, partial.open("r+b") as file:
        if response.status != 206:
            done = 0
        file.seek(done)
        file.truncate()
        while block := response.read(min(BLOCK, download.size + 1 - done)):
            file.write(block)
            done += len(block)
            if progress is not None:
                progress(download.name, min(done, download.size), download.size)
            if done > download.size:
                break
    if done < download.size:
        raise OSError(f"the connection ended after {done} of {download.size} bytes")


@contextlib.contextmanager
def _only_one(partial: Path) -> Iterator[IO[bytes]]:
    """Hold a lock on the file being received, so that two processes do not write into it at once."""
    with partial.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{partial}: another process is downloading this file - wait for it") from None
        except OSError:
            pass  # a file system without locks: the checksum still catches a mixture
        yield file
