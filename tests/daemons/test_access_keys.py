"""API keys: made, found, ended; by several processes at once, killed ones, and on a bad file."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import MovedClock

from screenerd.serve.access import keys
from screenerd.serve.access.caller import Caller, Scope, TokenError
from screenerd.serve.access.keys import KeyFile, KeyFileError

NOW = 1_732_190_400_000
DEADLINE = 30.0
LOCKS = Path("/proc/locks")

MAKE_MANY = """
import sys
from pathlib import Path
from screenerd.serve.access.keys import KeyFile
keys = KeyFile(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for n in range(25):
    print(keys.create(f"{sys.argv[2]} {n}", ["read"], 1)[1], flush=True)
"""

KILLED_BEFORE_THE_RENAME = """
import os, signal, sys
from pathlib import Path
from screenerd.serve.access.keys import KeyFile
Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
KeyFile(Path(sys.argv[1])).create("lost", ["read"], 1)
"""

REVOKE = """
import sys
from pathlib import Path
from screenerd.serve.access.keys import KeyFile
KeyFile(Path(sys.argv[1])).revoke(sys.argv[2])
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the keys are."""
    return tmp_path / "keys.json"


@pytest.fixture
def clock() -> MovedClock:
    """A clock that stands."""
    return MovedClock(NOW)


@pytest.fixture
def file(path: Path, clock: MovedClock) -> KeyFile:
    """No keys yet."""
    return KeyFile(path, clock)


def refused(file: KeyFile, token: str, now_ms: int = NOW) -> TokenError:
    """Why a key is not accepted; the words never hold it."""
    with pytest.raises(TokenError) as caught:
        file.find(token, now_ms)
    assert token == "" or token not in str(caught.value)
    return caught.value


def run(script: str, *words: object) -> subprocess.CompletedProcess[str]:
    """Runs a script to its end."""
    command = [sys.executable, "-c", script, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)


@contextmanager
def started(script: str, *words: object) -> Iterator[subprocess.Popen[str]]:
    """A script that runs beside the test, and has said that it is ready."""
    command = [sys.executable, "-c", script, *map(str, words)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


# One process


def test_a_key_is_made_found_and_listed(file: KeyFile) -> None:
    info, token = file.create("dashboard", ["write", "read"], NOW, NOW + 1000)
    assert re.fullmatch(f"scr_{info.id}_[A-Za-z0-9_-]{{43}}", token)
    assert re.fullmatch("[0-9a-f]{8}", info.id)
    assert info.name == "dashboard"
    assert info.scopes == {"read", "write"}
    assert (info.created_at, info.expires_at, info.revoked_at) == (NOW, NOW + 1000, None)
    assert file.find(token, NOW) == Caller(
        f"key:{info.id}", frozenset({"read", "write"}), NOW + 1000
    )
    other, _ = file.create("dashboard", ["admin"], NOW)
    assert file.list() == [info, other]


def test_the_file_holds_no_token(file: KeyFile, path: Path) -> None:
    _, token = file.create("a", ["read"], NOW)
    text = path.read_text()
    assert token not in text
    assert token.rsplit("_", 1)[1] not in text
    assert token.removeprefix("scr_")[9:] not in text
    assert '"sha256"' in text


def test_tokens_differ(file: KeyFile) -> None:
    made = [file.create("a", ["read"], NOW) for _ in range(20)]
    assert len({token for _, token in made}) == len({info.id for info, _ in made}) == 20


def test_an_id_in_use_is_not_given_again(file: KeyFile, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter(["00000000", "00000000", "00000000", "00000001"])
    monkeypatch.setattr("secrets.token_hex", lambda _length: next(drawn))
    assert file.create("a", ["read"], NOW)[0].id == "00000000"
    assert file.create("b", ["read"], NOW)[0].id == "00000001"


def test_what_is_nearly_a_key_is_none(file: KeyFile) -> None:
    info, token = file.create("a", ["read"], NOW)
    _, other = file.create("b", ["read"], NOW)
    head, secret = f"scr_{info.id}_", token[13:]
    for wrong in (
        head + other[13:],
        other[:13] + secret,
        head + secret[:-1],
        head + secret + "A",
        head + secret.swapcase(),
        token.upper(),
        token + "\n",
        token + "\udc80",
        " " + token,
        token.removeprefix("scr_"),
        "scr_",
        "",
        "scr_" + "é" * 52,
        "scr_\udc80",
    ):
        assert refused(file, wrong).code == "bad_token"
    assert file.find(token, NOW).id == f"key:{info.id}"


def test_no_other_letter_will_do(file: KeyFile) -> None:
    _, token = file.create("a", ["read"], NOW)

    @given(st.integers(0, len(token) - 1), st.characters())
    def check(place: int, letter: str) -> None:
        changed = token[:place] + letter + token[place + 1 :]
        if changed == token:
            assert file.find(changed, NOW).may("read")
        else:
            assert refused(file, changed).code == "bad_token"

    check()


def test_a_revoked_key_is_refused_at_once_and_for_good(file: KeyFile, clock: MovedClock) -> None:
    info, token = file.create("a", ["read"], NOW)
    _, other = file.create("b", ["read"], NOW)
    assert file.find(token, NOW).may("read")
    clock.move(5000)
    assert file.revoke(info.id).revoked_at == NOW + 5000
    error = refused(file, token)
    assert (error.code, "revoked" in str(error)) == ("bad_token", True)
    clock.move(5000)
    assert file.revoke(info.id).revoked_at == NOW + 5000
    assert [one.revoked_at for one in file.list()] == [NOW + 5000, None]
    assert file.find(other, NOW).may("read")


def test_a_key_that_is_not_there_cannot_be_revoked(file: KeyFile) -> None:
    info, _ = file.create("a", ["read"], NOW)
    with pytest.raises(KeyFileError, match="no key 'ffffffff0'"):
        file.revoke("ffffffff0")
    assert file.revoke(info.id).revoked_at is not None


def test_a_key_ends_when_it_was_said_to(file: KeyFile) -> None:
    _, token = file.create("a", ["read"], NOW, NOW + 1000)
    assert file.find(token, NOW + 999).may("read")
    assert refused(file, token, NOW + 1000).code == "expired_token"
    _, endless = file.create("b", ["read"], NOW)
    assert file.find(endless, NOW * 2).may("read")


@pytest.mark.parametrize("name", ["", " ", "x" * 65, "a\nb", "a\x1b[31m", "\u202e", "\ud800"])
def test_a_name_that_cannot_be_shown_is_refused(file: KeyFile, name: str) -> None:
    with pytest.raises(ValueError, match="1 to 64 printable letters"):
        file.create(name, ["read"], NOW)
    for good in ("x", "x" * 64, "ключ 1", "钥匙"):
        assert file.create(good, ["read"], NOW)[0].name == good


@pytest.mark.parametrize("scopes", [[], ["root"], ["read", "root"], "read"])
def test_a_scope_that_is_none_is_refused(file: KeyFile, scopes: list[Scope]) -> None:
    with pytest.raises(ValueError, match="read, write, admin"):
        file.create("a", scopes, NOW)
    assert file.list() == []
    assert file.create("a", ["read", "read"], NOW)[0].scopes == {"read"}


def test_a_key_cannot_end_before_it_is_made(file: KeyFile) -> None:
    with pytest.raises(ValueError, match="expired before"):
        file.create("a", ["read"], NOW, NOW)
    assert file.create("a", ["read"], NOW, NOW + 1)[0].expires_at == NOW + 1


def test_a_full_file_drops_what_is_dead_and_nothing_else(
    file: KeyFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "MOST_KEYS", 3)
    revoked, _ = file.create("revoked", ["read"], NOW)
    file.create("expired", ["read"], NOW, NOW + 1)
    file.revoke(revoked.id)
    file.create("live", ["read"], NOW)
    file.create("later", ["read"], NOW + 1)
    file.create("last", ["read"], NOW + 1)
    assert [info.name for info in file.list()] == ["live", "later", "last"]
    with pytest.raises(KeyFileError, match="revoke some"):
        file.create("too many", ["read"], NOW + 1)


# The file


@contextmanager
def without_umask() -> Iterator[None]:
    """Files get every permission that is asked for."""
    before = os.umask(0)
    try:
        yield
    finally:
        os.umask(before)


def test_nobody_else_may_read_the_file(file: KeyFile, path: Path) -> None:
    left_behind = path.with_name("keys.json.part")
    with without_umask():
        left_behind.write_text("of a process that was killed")
        path.write_text('{"version": 1, "keys": []}')
        assert {stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()} == {0o666}
        file.create("a", ["read"], NOW)
    modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()}
    assert modes == {"keys.json": 0o600, "keys.json.lock": 0o600}


def test_the_folder_is_made(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "new" / "keys.json")
    assert file.list() == []
    _, token = file.create("a", ["read"], NOW)
    assert file.find(token, NOW).may("read")


DAMAGED = [
    b"",
    b"{",
    b"\xff\xfe",
    b"[]",
    b'{"version": 2, "keys": []}',
    b'{"version": 1, "keys": [{}]}',
    b'{"version": 1, "keys": [], "more": 1}',
    b'{"version": 1, "keys": [' + b" " * 1024 * 1024 + b"]}",
]


@pytest.mark.parametrize("body", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_file_is_told_and_left_as_it_is(
    file: KeyFile, path: Path, clock: MovedClock, body: bytes
) -> None:
    info, token = file.create("a", ["read"], NOW)
    assert file.find(token, NOW).may("read")
    whole = path.read_bytes()
    path.write_bytes(body)
    for use in (
        lambda: file.create("b", ["read"], NOW),
        file.list,
        lambda: file.revoke(info.id),
    ):
        with pytest.raises(KeyFileError, match=rf"{path} is damaged .* put a copy of it back"):
            use()
    assert path.read_bytes() == body
    clock.move(1000)
    assert file.find(token, NOW).may("read")
    assert refused(KeyFile(path, clock), token).code == "bad_token"
    path.write_bytes(whole)
    clock.move(1000)
    assert KeyFile(path, clock).find(token, NOW) == file.find(token, NOW)
    assert file.revoke(info.id).revoked_at is not None
    assert refused(file, token).code == "bad_token"


def test_a_file_that_is_too_large_is_told(file: KeyFile, path: Path) -> None:
    file.create("a", ["read"], NOW)
    whole = path.read_bytes()
    path.write_bytes(whole.ljust(1024 * 1024))
    assert len(file.list()) == 1
    path.write_bytes(whole.ljust(1024 * 1024 + 1))
    with pytest.raises(KeyFileError, match="larger than 1048576 bytes"):
        file.list()


def test_any_part_of_a_file_is_damaged_or_whole(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    for _ in range(2):
        KeyFile(path).create("a", ["read"], NOW)
    whole = path.read_bytes()
    for length in range(0, len(whole) - 1, 7):
        path.write_bytes(whole[:length])
        with pytest.raises(KeyFileError, match="damaged"):
            KeyFile(path).list()
    path.write_bytes(whole)
    assert len(KeyFile(path).list()) == 2


def test_two_keys_of_one_id_are_damage(file: KeyFile, path: Path) -> None:
    file.create("a", ["read"], NOW)
    text = path.read_text()
    start, end = text.index("[") + 1, text.rindex("]")
    path.write_text(f"{text[:end]},{text[start:end]}{text[end:]}")
    with pytest.raises(KeyFileError, match="two keys have one id"):
        file.list()


def test_a_file_that_is_no_file_is_told(tmp_path: Path, clock: MovedClock) -> None:
    folder = tmp_path / "keys.json"
    folder.mkdir()
    file = KeyFile(folder, clock)
    with pytest.raises(KeyFileError, match="cannot be read: Is a directory"):
        file.list()
    assert refused(file, "scr_00000000_" + "A" * 43).code == "bad_token"
    below = KeyFile(tmp_path / "keys.json.lock" / "keys.json", clock)
    (tmp_path / "keys.json.lock").touch()
    with pytest.raises(KeyFileError, match="cannot be opened"):
        below.create("a", ["read"], NOW)


def test_a_file_that_is_removed_has_no_keys(file: KeyFile, path: Path, clock: MovedClock) -> None:
    _, token = file.create("a", ["read"], NOW)
    assert file.find(token, NOW).may("read")
    path.unlink()
    clock.move(1000)
    assert refused(file, token).code == "bad_token"


def test_a_full_disk_leaves_the_keys_as_they_were(
    file: KeyFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    info, token = file.create("a", ["read"], NOW)
    with monkeypatch.context() as full:
        full.setattr(os, "fsync", _no_space)
        for use in (lambda: file.create("b", ["read"], NOW), lambda: file.revoke(info.id)):
            with pytest.raises(KeyFileError, match="cannot be written: No space left"):
                use()
    assert file.list() == [info]
    assert file.find(token, NOW).may("read")
    file.create("b", ["read"], NOW)
    assert len(file.list()) == 2


def _no_space(_descriptor: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_the_file_is_looked_at_once_a_second(
    path: Path, clock: MovedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, reader, looks = KeyFile(path, clock), KeyFile(path, clock), [0]
    info, token = writer.create("a", ["read"], NOW)
    look = keys._signature

    def counted(path: Path) -> tuple[int, int, int] | None:
        looks[0] += 1
        return look(path)

    monkeypatch.setattr(keys, "_signature", counted)
    for seconds in range(1, 4):
        for _ in range(100):
            assert reader.find(token, NOW).may("read")
        clock.move(999)
        assert reader.find(token, NOW).may("read")
        assert looks[0] == seconds
        clock.move(1)
    writer.revoke(info.id)
    assert refused(reader, token).code == "bad_token"


# Several processes


def test_two_processes_at_once_lose_no_key(path: Path) -> None:
    with started(MAKE_MANY, path, "left") as left, started(MAKE_MANY, path, "right") as right:
        told = [process.communicate("go\n", timeout=DEADLINE)[0] for process in (left, right)]
    names = sorted(info.name for info in KeyFile(path).list())
    assert names == sorted(f"{side} {n}" for side in ("left", "right") for n in range(25))
    tokens = "".join(told).split()
    assert len({KeyFile(path).find(token, NOW).id for token in tokens}) == 50


@pytest.mark.skipif(not LOCKS.exists(), reason="the kernel does not list who waits for a lock")
def test_who_writes_waits_for_the_lock(path: Path) -> None:
    file = KeyFile(path)
    first, _ = file.create("first", ["read"], NOW)
    with started(MAKE_MANY, path, "other") as other:
        with path.with_name("keys.json.lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            assert other.stdin is not None
            other.stdin.write("go\n")
            other.stdin.flush()
            _until_it_waits_for_a_lock(other.pid)
            assert file.list() == [first]
        other.communicate(timeout=DEADLINE)
    assert len(file.list()) == 26


def _until_it_waits_for_a_lock(pid: int) -> None:
    """The kernel lists who waits, after an arrow."""
    waiting = re.compile(rf"-> FLOCK .* {pid} ")
    end = time.monotonic() + DEADLINE
    while not waiting.search(LOCKS.read_text()):
        assert time.monotonic() < end, "it did not wait"


def test_killed_before_the_rename_nothing_is_lost_and_nothing_stays(path: Path) -> None:
    file = KeyFile(path)
    first, _ = file.create("first", ["read"], NOW)
    assert run(KILLED_BEFORE_THE_RENAME, path).returncode == -signal.SIGKILL
    assert path.with_name("keys.json.part").exists()
    assert file.list() == [first]
    second, _ = file.create("second", ["read"], NOW)
    assert file.list() == [first, second]
    assert sorted(one.name for one in path.parent.iterdir()) == ["keys.json", "keys.json.lock"]


def test_a_key_revoked_by_another_process_is_refused_within_a_second(path: Path) -> None:
    file = KeyFile(path)
    info, token = file.create("a", ["read"], NOW)
    assert file.find(token, NOW).may("read")
    assert run(REVOKE, path, info.id).returncode == 0
    _within_a_second(lambda: not is_accepted(file, token))
    assert "revoked" in str(refused(file, token))


def test_a_key_made_by_another_process_is_accepted_within_a_second(path: Path) -> None:
    file = KeyFile(path)
    assert refused(file, "scr_00000000_" + "A" * 43).code == "bad_token"
    with started(MAKE_MANY, path, "other") as other:
        token = other.communicate("go\n", timeout=DEADLINE)[0].split()[0]
    assert not is_accepted(KeyFile(path), token[:-1])
    _within_a_second(lambda: is_accepted(file, token))


def is_accepted(file: KeyFile, token: str) -> bool:
    """Whether a key is, now."""
    try:
        return file.find(token, NOW).may("read")
    except TokenError:
        return False


def _within_a_second(condition: Callable[[], bool]) -> None:
    """Waits, and a little longer than that: this machine may be busy."""
    end = time.monotonic() + 1.5
    while not condition():
        assert time.monotonic() < end, "nothing has changed"
