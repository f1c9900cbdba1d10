"""A name in a log line makes no second line, and no colours."""

import logging
from pathlib import Path

from wsss_mm.logs import OneLine


def test_names_are_spelled_out_and_nothing_else():
    names = ("a\nERROR b", Path("M\udcfcller\x1b[31m"), 3)
    record = logging.LogRecord("x", logging.INFO, "f", 1, "%s and %s: %d\nmore", names, None)
    assert OneLine("%(message)s").format(record) == "a\\nERROR b and M\\udcfcller\\x1b[31m: 3\nmore"
    assert record.args == names
