"""What the rows of the behaviour table share: the clients, and a gateway that serves all along."""

import os
import sys
import tempfile
from pathlib import Path

import pytest

# The gateway as a child process, its fakes and its stubs are those of the other tests.
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "python"))

import homes
import stubs

homes.check()
# Of its own, since several runs may go on at once.
_made = tempfile.TemporaryDirectory()
stubs.OUT = Path(_made.name) / "stubs"
stubs.generate()  # Before any test module imports metagov.v1.

import languages  # noqa: E402
from aging import Aging  # noqa: E402
from crowd import Crowd  # noqa: E402
from gateway import Gateway  # noqa: E402
from garden import plant  # noqa: E402
from table import Table  # noqa: E402

TABLE = Table()
# The rows that failed by themselves.
BROKEN = set()

# What must hold before all else comes first, what must grow old last.
ORDER = (
    "versions builds environment calls watch processes subscriptions faults answers access tls "
    "examples readme cursors"
).split()


@pytest.fixture(scope="session")
def gateway(tmp_path_factory):
    """A gateway that no row disturbs, with the community `garden`."""
    with Gateway(tmp_path_factory.mktemp("gateway")) as running:
        plant(running)
        yield running


@pytest.fixture
def fragile(tmp_path):
    """A gateway of the row's own, which it may kill."""
    with Gateway(tmp_path) as running:
        plant(running)
        yield running


@pytest.fixture(scope="session", autouse=True)
def aging(request, tmp_path_factory):
    """A gateway with a short log, started before all rows if one of them is about it."""
    if not any("expired_cursor" in item.name for item in request.session.items):
        yield None
        return
    with Aging(tmp_path_factory.mktemp("aging")) as running:
        yield running


@pytest.fixture
def crowd(request, tmp_path, subtests, gateway):
    """The clients of all languages, at the gateway; the test is a row of the table."""
    crowd = Crowd(languages.chosen(), tmp_path, subtests).at(gateway)
    yield crowd
    crowd.kill()
    whole = request.node.nodeid not in BROKEN
    title = request.node.function.__doc__.split("\n")[0].rstrip(".")
    results = {c.name: whole and c.name not in crowd.failed for c in crowd.clients}
    TABLE.enter(title, results)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logreport(report):
    """Notes a row that failed by itself, not by one of the languages."""
    if report.failed and report.when == "call" and type(report) is pytest.TestReport:
        BROKEN.add(report.nodeid)


def pytest_collection_modifyitems(items):
    """Puts the rows in the order of the table."""
    items.sort(key=lambda item: ORDER.index(item.path.stem.removeprefix("test_")))


def pytest_sessionfinish(session):
    """Writes the table of results, or compares it with the committed one."""
    if os.environ.get("METAGOV_WRITE_TABLE") == "1":
        TABLE.write()
    elif is_stale(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config):
    """Prints the table."""
    terminalreporter.section("clients")
    terminalreporter.write_line(str(TABLE))
    if is_stale(config):
        terminalreporter.write_line("clients/README.md has another: METAGOV_WRITE_TABLE=1 writes it")


def is_stale(config) -> bool:
    """Whether all rows ran in all languages, and the committed table says something else."""
    start = config.invocation_params.dir
    every = [Path(start, path).resolve() for path in config.args] == [HERE]
    return every and not config.option.keyword and TABLE.is_full() and TABLE.differs()
