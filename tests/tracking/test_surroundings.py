"""What a run says of where it ran."""

from importlib import metadata

from wsss_mm.tracking.surroundings import installed_versions


def test_versions_are_those_that_python_itself_reads():
    expected = {item.metadata["Name"]: item.version for item in metadata.distributions()}
    assert "torch" in expected
    assert installed_versions.__wrapped__() == expected  # not of before others put folders into the path
