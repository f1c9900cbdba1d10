"""Mend what a kill of DVC cut off, so that DVC goes on: its table of what is being read and written, and dvc.lock.

DVC 3.67 writes `.dvc/tmp/rwlock` and `dvc.lock` in place, so that a SIGKILL at that moment leaves a part of them, or
nothing. What the table held is void once it cannot be read: it is removed. Of `dvc.lock` a copy is kept each time that
it can be read, and put back when it cannot; what stages did since, DVC finds in its cache of runs. `make repro` calls
this; before a plain `dvc repro` it is `python scripts/mend_dvc.py`.
"""

import json
import re
import shutil
import sys
from pathlib import Path

FOLDER = Path(".dvc/tmp")
LOCK, SOUND = Path("dvc.lock"), FOLDER / "dvc.lock.sound"
MORE_FOLLOWS = re.compile(r"\n *(- path: .*|hash: .*|[^\n ]+:)\n\Z")  # a last line that DVC leaves no file with


def main() -> int:
    """Mend both in the current folder, unless they can be read or a DVC is at work."""
    from dvc.lock import LockError, make_lock

    if not FOLDER.is_dir():
        return 0
    try:
        with make_lock(str(FOLDER / "rwlock.lock"), tmp_dir=str(FOLDER)):  # DVC holds it while it writes the table
            mend_table()
        with make_lock(str(FOLDER / "lock"), tmp_dir=str(FOLDER)):  # and this one while it reproduces
            mend_lock()
    except LockError:  # it is at work, and its files are its own
        pass
    return 0


def mend_table() -> None:
    """Remove the table if it was cut off."""
    table = FOLDER / "rwlock"
    try:
        json.loads(table.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except ValueError:
        table.unlink()
        sys.stderr.write(f"{table}: was cut off, removed\n")


def mend_lock() -> None:
    """Keep a copy of dvc.lock if it can be read, else put the copy back; a file with a merge's marks is its user's."""
    if not LOCK.is_file() or b"<<<<<<< " in LOCK.read_bytes():
        return
    source, target = (LOCK, SOUND) if can_be_read(LOCK) else (SOUND, LOCK)
    if not source.is_file():
        sys.stderr.write(
            f"{LOCK}: was cut off; git checkout {LOCK}, and DVC finds what stages did since in its cache\n"
        )
        return
    temporary = FOLDER / "dvc.lock.new"
    shutil.copyfile(source, temporary)
    temporary.replace(target)
    if target == LOCK:
        sys.stderr.write(f"{LOCK}: was cut off, put back as it was when this last looked\n")


def can_be_read(lock: Path) -> bool:
    """Whether all that it says is whole; DVC itself takes an md5 that was cut off for none, and goes on with that."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from voluptuous import Invalid

    from wsss_mm.dvc_files import locked_entries
    from wsss_mm.errors import InputError
    from wsss_mm.yaml_values import YAMLError, values

    try:
        text = lock.read_text(encoding="utf-8")
        COMPILED_LOCKFILE_SCHEMA(values(text))
        for kind in ("deps", "outs"):
            locked_entries(text, kind)
    except (YAMLError, Invalid, UnicodeDecodeError, InputError):
        return False
    return text.endswith("\n") and not MORE_FOLLOWS.search(text)


if __name__ == "__main__":
    sys.exit(main())
