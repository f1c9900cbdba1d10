"""A name in a log line makes no second line, and no colours."""

import logging
import subprocess
import sys
from pathlib import Path

from wsss_mm.logs import OneLine


def test_names_are_spelled_out_and_nothing_else():
    names = ("a\nERROR b", Path("M\udcfcller\x1b[31m"), 3)
    record = logging.LogRecord("x", logging.INFO, "f", 1, "%s and %s: %d\nmore", names, None)
    assert OneLine("%(message)s").format(record) == "a\\nERROR b and M\\udcfcller\\x1b[31m: 3\nmore"
    assert record.args == names


def test_a_traceback_shows_no_secrets():
    code = (
        "from wsss_mm.logs import log_to_stderr\n"
        "import threading\n"
        "log_to_stderr(20, '%(message)s')\n"
        "def fail():\n    raise RuntimeError('no store ' + 'postgres' + '://u:' + 'hun' + 'ter2@h/db')\n"
        "thread = threading.Thread(target=fail)\n"
        "thread.start(), thread.join()\n"
        "fail()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("RuntimeError: no store postgres://h/db\n") == 2
    assert done.stderr.count("Traceback") == 2
    assert "hunter2" not in done.stderr


def test_torch_has_not_the_last_word():
    code = (
        "import logging; from wsss_mm.logs import log_to_stderr; log_to_stderr(logging.INFO, '%(message)s')\n"
        "logging.getLogger('torch._subclasses.fake_tensor').info('cache stats')\n"
        "logging.getLogger('torch').warning('told')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "told\n"
