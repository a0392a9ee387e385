"""A nats-server of a test's own: on a free port, in a temporary folder, killed and started again.

`SCREENER_NATS_SERVER` names one to use; else that of the machine serves if it is new enough; else
Debian's package is fetched, checked against its digest and unpacked, once.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import signal
import subprocess
import time
import urllib.request
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest
from ports import free_port as free_port  # benches take it from here

from screenerd.bus.jetstream.check import OLDEST

PACKAGES = {
    "x86_64": (
        "nats-server_2.10.27-1+b2_amd64.deb",
        "6d913ac987b78734c08537c2adeb1526cf735f216173a9170d94b185fcfe6f8a",
    ),
    "aarch64": (
        "nats-server_2.10.27-1+b2_arm64.deb",
        "0c9a617510b28c1b4fb4a38aabea6ab8cd7f026247f2abdff8b955b2278ce049",
    ),
}
CACHE = Path(__file__).parents[2] / ".pytest_cache" / "nats-server"
START_SECONDS = 20.0
STOP_SECONDS = 60.0
"""It writes what it holds, on a disk that others use too."""


def version_of(binary: str | Path) -> tuple[int, ...]:
    """The version of a nats-server."""
    told = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(int(part) for part in re.findall(r"\d+", told)[:3])


def pool() -> str:
    """Where the machine's own mirror has the packages of all releases."""
    ask = ["apt-get", "download", "--print-uris", "nats-server"]
    for update in (False, True):
        if update:
            subprocess.run(["apt-get", "update", "--quiet"], check=True, stdout=subprocess.DEVNULL)
        told = subprocess.run(ask, capture_output=True, text=True, check=False, cwd="/").stdout
        if found := re.search(r"'(https?://[^']+/)nats-server_", told):
            return found[1]
    raise OSError("no mirror has a nats-server")


def fetch(folder: Path = CACHE) -> Path:
    """Debian's nats-server, unpacked into a folder.

    Raises:
        OSError: it cannot be had.
    """
    name, digest = PACKAGES[platform.machine()]
    binary = folder / digest[:16] / "usr" / "sbin" / "nats-server"
    if binary.exists():
        return binary
    with urllib.request.urlopen(pool() + name.replace("+", "%2b"), timeout=60) as answer:  # noqa: S310
        package = answer.read()
    if hashlib.sha256(package).hexdigest() != digest:
        raise OSError(f"{name} is not the package that is expected")
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / name
    archive.write_bytes(package)
    unpacked = folder / f"{digest[:16]}.{os.getpid()}"
    subprocess.run(["dpkg-deb", "-x", archive, unpacked], check=True)
    try:
        unpacked.rename(folder / digest[:16])
    except OSError:  # another process was first
        shutil.rmtree(unpacked)
    return binary


@cache
def binary() -> Path:
    """One that is new enough; skips the test where there is none, and fails it where CI runs."""
    for told in (os.environ.get("SCREENER_NATS_SERVER"), shutil.which("nats-server")):
        if told and version_of(told) >= OLDEST:
            return Path(told)
    try:
        return fetch()
    except (OSError, KeyError, subprocess.CalledProcessError) as error:
        why = f"no nats-server of 2.10.23 or newer, and none could be fetched: {error}"
        if os.environ.get("CI") or os.environ.get("NOX"):
            pytest.fail(why)
        pytest.skip(why)


@dataclass(slots=True)
class NatsServer:
    """A broker with JetStream that writes through, unless told otherwise."""

    folder: Path
    sync: str = '"always"'
    program: Path = field(default_factory=lambda: binary())
    port: int = field(default_factory=free_port)
    monitor_port: int = field(default_factory=free_port)
    extra: str = ""
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def monitor(self) -> str:
        """Where it tells how it is configured."""
        return f"http://127.0.0.1:{self.monitor_port}"

    def start(self) -> NatsServer:
        """Starts it, and waits until JetStream answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        sync = f"sync_interval: {self.sync}" if self.sync else ""
        config = self.folder / "nats.conf"
        config.write_text(
            f'host: "127.0.0.1"\nport: {self.port}\nhttp: "127.0.0.1:{self.monitor_port}"\n'
            f'jetstream {{ store_dir: "{self.folder}/store"\n {sync} }}\n{self.extra}\n'
        )
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.program, "-c", config], stdout=log, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise OSError((self.folder / "log").read_text())
            time.sleep(0.02)
        return self

    def kill(self) -> None:
        """`kill -9`."""
        self.signal(signal.SIGKILL)
        self._wait()

    def stop(self) -> None:
        """In order; also one that stands still."""
        if self._process is not None:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
            self._wait()

    def signal(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        if self._process is not None:
            self._process.send_signal(number)

    def _wait(self) -> None:
        if self._process is not None:
            self._process.wait(STOP_SECONDS)
            self._process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.monitor}/healthz", timeout=1) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except OSError:
            return False


if __name__ == "__main__":
    print(fetch())
