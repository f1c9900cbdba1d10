"""`make test` keeps the tests of a group in one process: pytest-xdist with pytest 9.2 did not, and said nothing."""

import os

import pytest


@pytest.mark.xdist_group("groups")
@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="runs in parallel only, as in make test")
def test_the_group_reaches_the_scheduler(request):
    assert request.config.getoption("loadgroup"), "run with: --dist loadgroup"
    assert request.node.nodeid.endswith("@groups")
