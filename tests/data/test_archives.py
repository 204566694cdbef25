"""Archives that would write outside their folder are refused whole, by the code that a download goes through."""

import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from torchvision import datasets
from torchvision.datasets import utils

from headstart.data import sources
from headstart.data.archives import check_before_extracting
from headstart.errors import UserError

Member = tuple[str, bytes | None, str]  # name, kind of tar member (None: a plain file), where a link points

FAULTS: dict[str, tuple[Member, str]] = {
    "parent": (("../escaped.txt", None, ""), r"'\.\./escaped\.txt' leads out of the folder by \.\."),
    "parent inside": (("a/../../escaped.txt", None, ""), r"leads out of the folder"),
    "absolute": (("/tmp/escaped.txt", None, ""), r"'/tmp/escaped\.txt' has an absolute path"),
    "windows": (("C:\\escaped.txt", None, ""), "has an absolute path"),
    "windows parent": (("..\\escaped.txt", None, ""), "leads out of the folder"),
    "symbolic link": (("link", tarfile.SYMTYPE, "../.."), r"'link' is a link"),
    "hard link": (("link", tarfile.LNKTYPE, "good.txt"), r"'link' is a link to good\.txt"),
    "link inside": (("link", tarfile.SYMTYPE, "good.txt"), "is a link"),
    "pipe": (("pipe", tarfile.FIFOTYPE, ""), "neither a file nor a folder"),
    "odd name": (("../new\nline", None, ""), r"'\.\./new\\nline' leads out"),
}


def write_tar(path: Path, *members: Member) -> None:
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as tar:
        for name, kind, target in [("good.txt", None, ""), *members]:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind or tarfile.REGTYPE, target
            info.size = 0 if kind else 5
            tar.addfile(info, None if kind else io.BytesIO(b"hello"))


def write_zip(path: Path, *members: Member) -> None:
    modes = {None: stat.S_IFREG, tarfile.SYMTYPE: stat.S_IFLNK, tarfile.FIFOTYPE: stat.S_IFIFO}
    with zipfile.ZipFile(path, "w") as file:
        for name, kind, target in [("good.txt", None, ""), *members]:
            info = zipfile.ZipInfo(name)
            info.external_attr = (modes[kind] | 0o644) << 16
            file.writestr(info, target or "hello")


def everything(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def refused(tmp_path: Path, archive: str, fetch: Callable[[], object], message: str) -> None:
    """`fetch` must fail with that message and write nothing, neither outside nor inside."""
    before = everything(tmp_path)
    with pytest.raises(UserError, match=message) as caught:
        fetch()
    assert archive in str(caught.value)
    assert everything(tmp_path) == before
    assert not Path("/tmp/escaped.txt").exists()


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", ["set.tar", "set.tar.gz", "set.tgz", "set.zip"])
def test_a_download_is_checked_before_it_is_extracted(name: str, fault: str, tmp_path: Path) -> None:
    member, message = FAULTS[fault]
    if name.endswith("zip") and member[1] == tarfile.LNKTYPE:
        pytest.skip("zip has no hard links")
    server, root = tmp_path / "server", tmp_path / "deep" / "root"
    server.mkdir()
    root.mkdir(parents=True)
    (write_zip if name.endswith("zip") else write_tar)(server / name, member)
    (root / name).write_bytes((server / name).read_bytes())  # what the download leaves

    def fetch() -> None:
        with check_before_extracting():
            utils.download_and_extract_archive((server / name).as_uri(), str(root))

    refused(tmp_path, str(root / name), fetch, message if not name.endswith("zip") else message.split(" to ")[0])


@pytest.mark.parametrize("fault", ["parent", "absolute", "symbolic link"])
def test_the_catalogue_downloads_under_guard(fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real sets of torchvision, their archives in place of a download: those of these two have no known digest."""
    member, message = FAULTS[fault]
    write_tar(tmp_path / "fgvc-aircraft-2013b.tar.gz", member)
    refused(tmp_path, "fgvc-aircraft", lambda: sources.torchvision("FGVCAircraft", str(tmp_path)), message)
    monkeypatch.setattr(datasets.CLEVRClassification, "_MD5", None)
    (tmp_path / "clevr").mkdir()
    write_zip(tmp_path / "clevr" / "CLEVR_v1.0.zip", member)
    refused(tmp_path, "CLEVR_v1.0.zip", lambda: sources.torchvision("CLEVRClassification", str(tmp_path)), message)


@pytest.mark.parametrize("name", ["set.tar", "set.tgz", "set.zip"])
def test_sound_archives_pass(name: str, tmp_path: Path) -> None:
    write = write_zip if name.endswith("zip") else write_tar
    write(tmp_path / name, ("./deep/..name/file...txt", None, ""))
    table = dict(utils._ARCHIVE_EXTRACTORS)
    with check_before_extracting():
        utils.extract_archive(str(tmp_path / name), str(tmp_path / "out"))
    assert everything(tmp_path / "out") == {"good.txt", "deep", "deep/..name", "deep/..name/file...txt"}
    assert table == utils._ARCHIVE_EXTRACTORS  # the guard goes with its block


@pytest.mark.parametrize("name", ["set.tar", "set.tar.gz", "set.zip"])
@pytest.mark.parametrize("harm", ["cut short", "text", "empty"])
def test_a_damaged_archive_is_named(name: str, harm: str, tmp_path: Path) -> None:
    path = tmp_path / name
    (write_zip if name.endswith("zip") else write_tar)(path)
    content = path.read_bytes()
    path.write_bytes({"cut short": content[: len(content) // 2], "text": b"<html>404</html>", "empty": b""}[harm])
    if (name, harm) == ("set.tar", "cut short"):
        path.write_bytes(content[:514])  # in the middle of the first file
    with check_before_extracting(), pytest.raises(UserError, match=rf"{name} is damaged .*: remove it"):
        utils.extract_archive(str(path), str(tmp_path / "out"))


def test_every_archive_type_of_torchvision_is_guarded() -> None:
    """A type that torchvision learns later must be learnt here too: `guarded` fails loudly for it."""
    with check_before_extracting():
        assert set(utils._ARCHIVE_EXTRACTORS) == {".tar", ".zip"}
