"""How `make test` shares the tests out: a file's stay together, and what takes longest begins first.

Each worker of pytest-xdist would take the next test there is. Both made the same fixtures then, imported the same
modules, and at the end one of them waited for the other.
"""

import gc
from collections import Counter
from typing import Any

import pytest

gc.disable()  # until all is collected


def group_of(item: pytest.Item) -> str:
    """What stays in one process: tests of one `xdist_group`, or else of one file."""
    mark = item.get_closest_marker("xdist_group")
    return mark.args[0] if mark else item.nodeid.partition("::")[0]


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist writes groups into names
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In the order in which groups are to begin: by tests that train or run stages, then by all."""
    if not config.getoption("loadgroup", False):
        return
    of = {item: group_of(item) for item in items}
    slow = Counter(of[item] for item in items if item.get_closest_marker("slow"))
    count = Counter(of.values())
    items.sort(key=lambda item: (-slow[of[item]], -count[of[item]], of[item]))


def pytest_collection_finish() -> None:
    """What was imported and collected stays, and is not gone through again: 25 % of collecting, 4 % of the tests."""
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)
    gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A scheduler that hands out groups in that order."""
    if config.getoption("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadGroupScheduling

    class ByFile(LoadGroupScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return super()._split_scope(nodeid).partition("::")[0]

    config.option.loadscopereorder = False
    return ByFile(config, log)
