"""Archives and downloads: hostile archives write nothing, downloads are checked, continued and never half-used."""

import hashlib
import http.server
import io
import shutil
import tarfile
import threading

import numpy as np
import pytest

from batchbrew.errors import UserError
from batchbrew.solver.data import catalog, dataset, download
from batchbrew.solver.data.part import Part
from batchbrew.solver.data.sources import Download, Raw, cifar10


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def cifar(tmp_path):
    """Two records a file, in the official folder, and the .tar.gz of that folder."""
    folder = tmp_path / "raw" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for number, name in enumerate((*cifar10.BATCHES, "test_batch")):
        records = np.random.default_rng(number).integers(0, 10, (2, 3073), np.uint8)
        (folder / f"{name}.bin").write_bytes(records.tobytes())
    with tarfile.open(tmp_path / "cifar-10-binary.tar.gz", "w:gz") as tar:
        tar.add(folder, "cifar-10-batches-bin")
    return folder


def refusal(call, *arguments):
    with pytest.raises(UserError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- archives -------------------------------------------------------------------------------------------------------


def archive(path, *members):
    with tarfile.open(path, "w:gz") as tar:
        for name, kind, target in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, target, 4 if kind == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(b"evil"))
    return path


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ([("../evil", tarfile.REGTYPE, "")], "'../evil' in it leads outside"),
        ([("good", tarfile.REGTYPE, ""), ("a/../../evil", tarfile.REGTYPE, "")], "'a/../../evil' in it leads outside"),
        ([("evil", tarfile.SYMTYPE, "/etc/passwd")], "'evil' in it is a link or a device"),
        ([("in", tarfile.SYMTYPE, "/tmp"), ("in/evil", tarfile.REGTYPE, "")], "'in' in it is a link or a device"),
        ([("evil", tarfile.LNKTYPE, "../../passwd")], "'evil' in it is a link or a device"),
        ([("evil", tarfile.FIFOTYPE, "")], "'evil' in it is a link or a device"),
        ([("evil", tarfile.CHRTYPE, "")], "'evil' in it is a link or a device"),
    ],
)
def test_hostile_archives_write_nothing(home, tmp_path, members, text):
    path = archive(tmp_path / "evil.tar.gz", *members)
    assert refusal(dataset.resolve, str(path), home) == f"{path}: {text} - this is no data set's archive, do not use it"
    assert not list(home.iterdir()) and not list(tmp_path.rglob("evil")) and not list(tmp_path.rglob("good"))


def test_absolute_names_stay_inside(home, tmp_path):
    path = archive(tmp_path / "evil.tar.gz", (f"{tmp_path}/evil", tarfile.REGTYPE, ""))
    assert "no files of a known data set" in refusal(dataset.resolve, str(path), home)
    assert not (tmp_path / "evil").exists() and not list(home.iterdir())


def test_archive_that_unpacks_to_too_much(home, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "UNPACKED_LIMIT", 7)
    path = archive(tmp_path / "big.tgz", ("a", tarfile.REGTYPE, ""), ("b", tarfile.REGTYPE, ""))
    assert refusal(dataset.resolve, str(path), home) == f"{path}: unpacks to more than 7 bytes, not a known data set"


@pytest.mark.parametrize("length", [0, 5, 300, 10_000, -10])
def test_archive_cut_short(home, tmp_path, cifar, length):
    path = tmp_path / "cifar-10-binary.tar.gz"
    path.write_bytes(path.read_bytes()[:length])
    assert refusal(dataset.resolve, str(path), home).startswith(f"{path}: cannot unpack, damaged or cut short (")
    assert not list(home.iterdir())


# ---- downloads ------------------------------------------------------------------------------------------------------


class Server(http.server.ThreadingHTTPServer):
    """Serve ``content`` at every path; ``limit`` bytes an answer, continued by Range if ``ranges``."""

    content, limit, ranges, status = b"", None, True, 200

    def __init__(self):
        self.requests: list[tuple[str, str | None]] = []
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def url(self, name):
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        wanted = self.headers["Range"]
        server.requests.append((self.path, wanted))
        if server.status != 200:
            return self.send_error(server.status)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and server.ranges else 0
        body = server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: server.limit])
        return None

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path, cifar, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    server = Server()
    server.content = (tmp_path / "cifar-10-binary.tar.gz").read_bytes()
    official = Download(
        "cifar-10-binary.tar.gz",
        (server.url("first.tar.gz"), server.url("second.tar.gz")),
        f"md5:{hashlib.md5(server.content).hexdigest()}",
        len(server.content),
    )
    monkeypatch.setattr(cifar10.Cifar10, "downloads", (official,))
    yield server
    server.shutdown()
    server.server_close()


def test_get(home, server, cifar):
    calls = []
    assert dataset.get("cifar10", home, lambda *progress: calls.append(progress)) == home / "cifar10.h5"
    assert dataset.resolve("cifar10", home).digest == dataset.resolve(str(cifar), home).digest
    assert calls[-1] == ("cifar-10-binary.tar.gz", len(server.content), len(server.content))
    assert not list(home.glob(".*"))
    assert dataset.get("cifar10", home) == home / "cifar10.h5"
    assert len(server.requests) == 1  # nothing is fetched twice


def test_get_replaces_a_set_made_from_other_files(home, server, cifar):
    shutil.copy(cifar / "data_batch_1.bin", cifar / "test_batch.bin")
    made = dataset.open_dataset(dataset.make("cifar10", cifar, home))
    assert dataset.open_dataset(dataset.get("cifar10", home)).digest != made.digest


def test_an_interrupted_download_is_continued(home, server):
    server.limit = len(server.content) // 3
    text = refusal(dataset.get, "cifar10", home)
    third = server.limit
    assert text.startswith(f"cannot download cifar-10-binary.tar.gz: {server.url('first.tar.gz')}: ")
    assert f"the connection ended after {third} of {len(server.content)} bytes" in text
    assert text.endswith("or fetch the file elsewhere and use 'batchbrew data make NAME --from FILE'")
    assert not (home / "cifar10.h5").exists()
    server.limit = None
    dataset.get("cifar10", home)
    assert [wanted for _, wanted in server.requests] == ["bytes=0-", f"bytes={third}-", f"bytes={2 * third}-"]
    assert not list(home.glob(".*"))


def test_a_server_that_cannot_continue_starts_anew(home, server):
    server.limit = len(server.content) // 3
    refusal(dataset.get, "cifar10", home)
    server.limit, server.ranges = None, False
    dataset.get("cifar10", home)
    assert len(dataset.resolve("cifar10", home).train) == 10


@pytest.mark.parametrize("change", [lambda c: c[::-1], lambda c: c + b"more"])
def test_another_file_is_removed(home, server, change):
    server.content = change(server.content)
    text = refusal(dataset.get, "cifar10", home)
    assert text.startswith(f"{server.url('first.tar.gz')}: the file received has checksum md5:")
    assert text.endswith("; it was removed - try again later")
    assert not [path for path in home.rglob("*") if path.is_file()]


def test_the_second_place_is_tried(home, server, monkeypatch):
    official = cifar10.Cifar10.downloads[0]
    monkeypatch.setattr(
        cifar10.Cifar10,
        "downloads",
        (Download(official.name, ("http://127.0.0.1:1/x", official.urls[1]), official.checksum, official.size),),
    )
    dataset.get("cifar10", home)
    assert [path for path, _ in server.requests] == ["/second.tar.gz"]


def test_what_is_said_when_nobody_delivers(home, server):
    server.status = 404
    text = refusal(dataset.get, "cifar10", home)
    assert text.startswith("cannot download cifar-10-binary.tar.gz: ") and "Not Found" in text
    assert "second.tar.gz" in text and "run the command again to continue" in text


def test_two_downloads_at_once(home, server):
    part = home / ".downloads" / "cifar10" / "cifar-10-binary.tar.gz.part"
    part.parent.mkdir(parents=True)
    with download._only_one(part):
        text = refusal(dataset.get, "cifar10", home)
    assert text == f"{part}: another process is downloading this file - wait for it"
    dataset.get("cifar10", home)


def test_get_of_plain_files(home, server, monkeypatch):
    """Files that are no archives (MNIST's) are handed over as they are."""
    monkeypatch.setattr(cifar10.Cifar10, "find", lambda self, folder: folder)

    def read(self, folder):
        assert (folder / "plain.bin").read_bytes() == server.content
        part = Part(np.zeros((1, 1, 2, 2), np.uint8), np.zeros(1, np.int32))
        return Raw(("one",), part, part)

    monkeypatch.setattr(cifar10.Cifar10, "read", read)
    official = cifar10.Cifar10.downloads[0]
    plain = Download("plain.bin", official.urls, official.checksum, official.size)
    monkeypatch.setattr(cifar10.Cifar10, "downloads", (plain,))
    assert len(dataset.open_dataset(dataset.get("cifar10", home)).train) == 1


def test_get_of_what_is_not_downloaded(home):
    assert refusal(dataset.get, "generated", home) == (
        "data set 'generated' is not downloaded: run 'batchbrew data make generated'"
    )
    assert refusal(catalog.get, "cifar", home).startswith("unknown data set 'cifar' - did you mean 'cifar10'?")
