"""Reading LMDBs without their library: the same records as the library, and an error wherever a file is damaged."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import lmdb
import pytest

from batchbrew.errors import UserError
from batchbrew.solver.data.lmdb_file import LmdbFile

PAGE = 4096


def write(folder, records, **options):
    """Write (key, value) pairs with the library."""
    with lmdb.open(str(folder), map_size=1 << 28, **options) as env, env.begin(write=True) as transaction:
        for key, value in records:
            transaction.put(key, value)


def by_library(folder):
    with lmdb.open(str(folder), readonly=True, lock=False) as env, env.begin() as transaction:
        return [(bytes(key), bytes(value)) for key, value in transaction.cursor()]


def by_us(folder):
    file = LmdbFile(folder)
    return [(key, file.value(number)) for number, key in enumerate(file.keys)]


def shuffled(count, size, key=b"%08d_name.png"):
    rng = random.Random(count)
    records = [(key % i, rng.randbytes(size(i))) for i in range(count)]
    return rng.sample(records, count)


@pytest.mark.parametrize(
    "records",
    [
        [],
        [(b"a", b"")],
        shuffled(3, lambda i: 10),
        shuffled(3000, lambda i: i % 50),  # branches
        shuffled(20000, lambda i: 0, b"%d"),  # branches of branches
        shuffled(700, lambda i: i * 9),  # values in leaves and on pages of their own
        shuffled(20, lambda i: 200_000),
        shuffled(300, lambda i: 7, b"%0500d"),  # the longest keys
        [(bytes([i, 0, 255 - i]), bytes([i]) * 3) for i in range(256)],
    ],
)
def test_the_records_are_those_of_the_library(records, tmp_path):
    write(tmp_path, records)
    found = by_us(tmp_path)
    assert found == by_library(tmp_path) == sorted(records)
    assert len(LmdbFile(tmp_path)) == len(records)


def test_after_many_changes(tmp_path):
    """Freed pages are used again, and either of the two metas may be the newer one."""
    records = shuffled(2000, lambda i: i % 6000)
    write(tmp_path, records)
    for start in range(3):
        with lmdb.open(str(tmp_path), map_size=1 << 28) as env, env.begin(write=True) as transaction:
            for key, _ in records[start::4]:
                transaction.delete(key)
            transaction.put(b"new%d" % start, b"x" * 9000)
        assert by_us(tmp_path) == by_library(tmp_path)


@pytest.fixture
def data(tmp_path):
    """An LMDB with a branch, small and large values; its file."""
    write(tmp_path, [(b"%05d" % i, b"v" * 30) for i in range(200)] + [(b"large", b"V" * 10_000)])
    return tmp_path / "data.mdb"


def pages(data: Path, flag: int) -> list[int]:
    content = data.read_bytes()
    return [at for at in range(2 * PAGE, len(content), PAGE) if content[at + 10] == flag]


def patch(data: Path, at: int, layout: str, *numbers: int) -> None:
    content = bytearray(data.read_bytes())
    struct.pack_into(f"<{layout}", content, at, *numbers)
    data.write_bytes(content)


def refused(data: Path) -> str:
    with pytest.raises(UserError) as error:
        by_us(data.parent)
    assert str(error.value).startswith(f"{data.parent}: ")
    return str(error.value).removeprefix(f"{data.parent}: ")


def newest(data: Path) -> int:
    """Return the place of the meta that counts."""
    metas = [struct.unpack_from("<Q", data.read_bytes(), at + 16 + 128)[0] for at in (0, PAGE)]
    return PAGE * metas.index(max(metas))


def test_no_lmdb(data):
    data.write_bytes(b"no data base" * 1000)
    assert refused(data) == "cannot open the LMDB: data.mdb does not begin like one"
    data.write_bytes(b"")
    assert refused(data) == "cannot open the LMDB: data.mdb does not begin like one"
    data.unlink()
    assert refused(data) == "cannot open the LMDB: data.mdb: No such file or directory"


@pytest.mark.parametrize("place", [16, 20, 10, 16 + 24])
def test_one_damaged_meta_leaves_the_other(data, place):
    """Magic number, version, kind of page, size of a page; the older meta here is that of the empty data base."""
    patch(data, newest(data) + place, "H", 7)
    assert by_us(data.parent) == []


@pytest.mark.parametrize(
    ("flag", "place", "number", "message"),
    [
        (1, 10, 4, "the LMDB is damaged: page N is none of a tree"),
        (2, 10, 0, "the LMDB is damaged: page N is none of a tree"),
        (2, 12, 5000, "the LMDB is damaged: page N is none of a tree"),
        (2, 12, 16, "the LMDB is damaged: page N is none of a tree"),
        (2, 12, 21, "the LMDB is damaged: page N is none of a tree"),
        (2, 16, 4001, "the LMDB is damaged: page N is none of a tree"),
        (2, 16, 4094, "the LMDB is damaged: a node of page N lies outside it"),
        (2, 16, 0, "the LMDB is damaged: a node of page N lies outside it"),
    ],
)
def test_damaged_pages(data, flag, place, number, message):
    at = pages(data, flag)[0]
    patch(data, at + place, "H", number)
    assert refused(data) == message.replace("N", str(at // PAGE))


@pytest.mark.parametrize(
    ("flag", "place", "numbers", "message"),
    [
        (1, 0, (1, 0, 0), "page 1 is none of a tree"),
        (1, 0, (0, 0, 0xFFFF), "page 281470681743360 cannot be where it is"),
        (2, 6, (4090,), "a record of page N lies outside it"),
        (2, 0, (0xFFFF, 0xFFFF), "a record of page N lies outside it"),
        (2, 4, (2,), "page N holds more than plain records (several data bases, or duplicate keys)"),
        (2, 8, (0xFFFF,), "its 201 records are not all there in order"),
    ],
)
def test_damaged_nodes(data, flag, place, numbers, message):
    at = pages(data, flag)[0]
    node = at + struct.unpack_from("<H", data.read_bytes(), at + 16)[0]
    patch(data, node + place, "H" * len(numbers), *numbers)
    assert refused(data) == f"the LMDB is damaged: {message.replace('N', str(at // PAGE))}"


def test_a_page_that_is_its_own_child(data):
    root = pages(data, 1)[0]
    node = root + struct.unpack_from("<H", data.read_bytes(), root + 16)[0]
    patch(data, node, "I", root // PAGE)
    assert refused(data) == f"the LMDB is damaged: page {root // PAGE} cannot be where it is"


def test_wrong_counts(data):
    patch(data, newest(data) + 16 + 72 + 32, "Q", 2**63)
    assert refused(data) == "the LMDB is damaged: its 9223372036854775808 records are not all there in order"


def test_a_value_on_a_page_that_cannot_be(data):
    content = data.read_bytes()
    link = content.index(b"large") + 5
    patch(data, link, "Q", 2**63)
    assert "names a page that cannot be" in refused(data)
    patch(data, link, "Q", 1000)
    assert refused(data).startswith(
        "the LMDB is cut short: data.mdb should have 4,106,016 bytes or more - copy it again"
    )


def test_a_file_cut_short(data):
    content = data.read_bytes()
    last = len(content.rstrip(b"\0"))  # pages may follow that no record needs
    for keep in (PAGE * 2, PAGE * 3 + 100, len(content) // 2, last - 2000):
        data.write_bytes(content[:keep])
        assert "the LMDB is cut short: data.mdb should have " in refused(data)


def test_a_file_cut_short_while_it_is_read(data):
    """The library would be killed by the system here."""
    file = LmdbFile(data.parent)
    data.write_bytes(data.read_bytes()[: PAGE * 2])
    with pytest.raises(UserError, match=r"the LMDB is cut short: data\.mdb should have [\d,]+ bytes or more - copy it"):
        file.value(0)


def test_several_data_bases_in_one(tmp_path):
    with lmdb.open(str(tmp_path), max_dbs=2) as env:
        env.open_db(b"inner")
    assert "holds more than plain records" in refused(tmp_path / "data.mdb")
