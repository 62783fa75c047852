"""An LMDB read without its library, which trusts what it finds: here every offset is checked, so that damage is an
error and not the end of the process, and nothing is mapped, so that no file can be cut off under a reader.

A file is pages of equal size. Two metas (pages 0 and 1) each name the root of a tree; the one of the later transaction
counts. Branch pages hold the numbers of other pages, leaf pages hold records: key, and value or, where that is long,
the number of the first of its overflow pages. Numbers are little-endian.
"""

from __future__ import annotations

import os
import struct
import weakref
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from batchbrew.errors import UserError

NAME = "data.mdb"
HEADER = 16  # bytes before the entries of a page: number (u64), unused, flags, end of entries, begin of nodes (u16)
BRANCH, LEAF, META, DIRTY = 1, 2, 8, 16  # page flags
BIG = 1  # node flag: the value lies on overflow pages
MAGIC, VERSION = 0xBEEFC0DE, 1
USUAL_PAGE = 4096
PAGES = tuple(1 << power for power in range(8, 17))  # bytes a page may have
EMPTY = 2**64 - 1  # number of the root where there are no records
LIMIT = 2**40  # pages no file has
# magic, version, address, map size; two trees (page size, flags, depth, 3 counts, entries, root); last page, number
_META = struct.Struct("<IIQQ IHH5Q IHH5Q QQ".replace(" ", ""))

Places = NDArray[np.int64]


class _Meta(NamedTuple):
    page: int  # bytes
    root: int
    entries: int
    transaction: int


class LmdbFile:
    """The records of the LMDB in a folder, in the order of their ``keys``. Raises UserError where it is damaged."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = os.open(path / NAME, os.O_RDONLY)
        except OSError as error:
            raise UserError(f"{path}: cannot open the LMDB: {NAME}: {error.strerror}") from None
        weakref.finalize(self, os.close, self._file)
        self._size = os.fstat(self._file).st_size
        self.keys: list[bytes] = []
        places: list[tuple[Places, Places]] = [(np.zeros(0, np.int64), np.zeros(0, np.int64))]
        try:
            self._meta = self._newest_meta()
            for leaf in self._leaves():
                self.keys += leaf.keys()
                places.append(leaf.values())
        except ValueError as problem:
            raise UserError(f"{path}: the LMDB is damaged: {problem}") from None
        if len(self.keys) != self._meta.entries or any(a >= b for a, b in pairwise(self.keys)):
            raise UserError(f"{path}: the LMDB is damaged: its {self._meta.entries} records are not all there in order")
        self._places, self._sizes = (np.concatenate(column) for column in zip(*places, strict=True))
        end = int((self._places + self._sizes).max(initial=0))
        if end > self._size:
            self._short(end)

    def __len__(self) -> int:
        return len(self.keys)

    def value(self, record: int) -> bytes:
        """Return the value of record number ``record``."""
        return self._read(int(self._places[record]), int(self._sizes[record]))

    def _newest_meta(self) -> _Meta:
        first = self._meta_at(0, PAGES)
        page = first.page if first else USUAL_PAGE
        metas = [meta for meta in (first, self._meta_at(page, (page,))) if meta is not None]
        if not metas:
            raise UserError(f"{self._path}: cannot open the LMDB: {NAME} does not begin like one")
        return max(metas, key=lambda meta: meta.transaction)

    def _meta_at(self, place: int, pages: tuple[int, ...]) -> _Meta | None:
        """Return the meta at ``place``, None if there is none for pages of one of these sizes."""
        content = os.pread(self._file, HEADER + _META.size, place)
        if len(content) < HEADER + _META.size or not content[10] & META:
            return None
        magic, version, _, _, page, *_, entries, root, _last, transaction = _META.unpack_from(content, HEADER)
        known = (magic, version) == (MAGIC, VERSION) and page in pages
        return _Meta(page, root, entries, transaction) if known else None

    def _leaves(self) -> list[_Page]:
        """Return the leaf pages in order."""
        found = []
        seen: set[int] = set()
        todo = [] if self._meta.root == EMPTY else [self._meta.root]
        while todo:
            number = todo.pop()
            if number in seen or number > LIMIT:
                raise ValueError(f"page {number} cannot be where it is")
            seen.add(number)
            page = _Page(number, self._read(number * self._meta.page, self._meta.page))
            if page.is_leaf:
                found.append(page)
            else:
                todo += reversed(page.children())
        return found

    def _read(self, place: int, size: int) -> bytes:
        content = os.pread(self._file, size, place)
        if len(content) < size:
            self._short(place + size)
        return content

    def _short(self, needed: int) -> NoReturn:
        raise UserError(
            f"{self._path}: the LMDB is cut short: {NAME} should have {needed:,} bytes or more - copy it again"
        )


class _Page:
    """A branch or leaf page. Its nodes are: lo, hi, flags, size of the key (u16), key, value. ValueError for damage."""

    def __init__(self, number: int, content: bytes) -> None:
        self._number, self._content = number, content
        words = np.frombuffer(content, "<u2").astype(np.int64)
        flags, end = int(words[5]) & ~DIRTY, int(words[6])
        self._at = words[HEADER // 2 : end // 2]  # where the nodes begin
        if flags not in (BRANCH, LEAF) or not HEADER < end <= len(content) or end % 2 or (self._at % 2).any():
            raise ValueError(f"page {number} is none of a tree")
        if self._at.min() < end or self._at.max() > len(content) - 8:
            raise ValueError(f"a node of page {number} lies outside it")
        self.is_leaf = flags == LEAF
        self._lo, self._hi, self._flags, self._key = (words[self._at // 2 + field] for field in range(4))

    def children(self) -> list[int]:
        """Return the numbers of the pages below a branch page."""
        numbers: list[int] = (self._lo | self._hi << 16 | self._flags << 32).tolist()
        return numbers

    def keys(self) -> list[bytes]:
        """Return the keys of a leaf page."""
        spans = zip((self._at + 8).tolist(), (self._at + 8 + self._key).tolist(), strict=True)
        return [self._content[start:end] for start, end in spans]

    def values(self) -> tuple[Places, Places]:
        """Return where in the file the values of a leaf page begin, and their sizes."""
        page = len(self._content)
        start, size, big = self._at + 8 + self._key, self._lo | self._hi << 16, self._flags == BIG
        if self._flags.max() > BIG:
            raise ValueError(
                f"page {self._number} holds more than plain records (several data bases, or duplicate keys)"
            )
        if (start + np.where(big, 8, size)).max() > page:
            raise ValueError(f"a record of page {self._number} lies outside it")
        links = np.frombuffer(self._content, np.uint8)[start[big][:, None] + np.arange(8)]
        numbers = np.ascontiguousarray(links).view("<u8").ravel()
        if (numbers > LIMIT).any():
            raise ValueError(f"page {self._number} names a page that cannot be")
        places = start + self._number * page
        places[big] = numbers.astype(np.int64) * page + HEADER
        return places, size
