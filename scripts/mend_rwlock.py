"""Remove DVC's table of what is being read and written if a kill cut it off: DVC would refuse to go on.

DVC 3.67 writes `.dvc/tmp/rwlock` in place, so that a SIGKILL at that moment leaves a part of it. What it held is void
once it cannot be read. `make repro` calls this; before a plain `dvc repro` it is `python scripts/mend_rwlock.py`.
"""

import json
import sys
from pathlib import Path


def main() -> int:
    """Remove the table of the project in the current folder, unless it can be read or a DVC holds it."""
    from dvc.lock import LockError, make_lock

    folder = Path(".dvc/tmp")
    table = folder / "rwlock"
    if not table.is_file():
        return 0
    try:
        with make_lock(str(folder / "rwlock.lock"), tmp_dir=str(folder)):  # DVC holds it while it writes the table
            try:
                json.loads(table.read_text(encoding="utf-8"))
            except ValueError:
                table.unlink()
                sys.stderr.write(f"{table}: was cut off, removed\n")
    except LockError:  # it is at work, and its table is its own
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
