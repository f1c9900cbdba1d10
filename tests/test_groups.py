"""`make test` keeps the tests of a group, and of a file, in one process: pytest-xdist with pytest 9.2 did not."""

import os
from types import SimpleNamespace

import pytest

from tests.order import pytest_collection_modifyitems

in_parallel = pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="runs in parallel only, as make test")
ran = []


@pytest.mark.xdist_group("groups")
@in_parallel
def test_the_group_reaches_the_scheduler(request):
    assert request.config.getoption("loadgroup"), "run with: --dist loadgroup"
    assert request.node.nodeid.endswith("@groups")


@in_parallel
@pytest.mark.parametrize("part", range(6))
def test_the_file_stays_together(part):
    ran.append(part)
    assert ran == list(range(part + 1)), "others ran in another process, or in another order"


@pytest.mark.parametrize("parallel", [True, False])
def test_what_takes_longest_begins_first(parallel):
    class Item(SimpleNamespace):
        __hash__ = object.__hash__

    given = [
        ("tests/a.py::test_one", None, False),
        ("tests/b.py::test_one", "line", False),
        ("tests/c.py::test_one", None, False),
        ("tests/c.py::Test::test_two[a::b]", None, False),
        ("tests/d.py::test_one", None, True),
        ("tests/e.py::test_one", "line", True),
        ("tests/f.py::test_one", "line", True),
    ]
    items = []
    for nodeid, group, slow in given:
        marks = {"xdist_group": SimpleNamespace(args=(group,)) if group else None, "slow": slow or None}
        items.append(Item(nodeid=nodeid, get_closest_marker=marks.get))
    before = list(items)
    pytest_collection_modifyitems(SimpleNamespace(getoption=lambda name, _: parallel), items)
    wanted = [1, 5, 6, 4, 2, 3, 0] if parallel else range(7)
    assert items == [before[index] for index in wanted]
