"""Where a slide's results grow until they are complete."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wsss_mm.errors import InputError
from wsss_mm.files import locked
from wsss_mm.formats import NewerError
from wsss_mm.places import HALF_DONE


@contextmanager
def partial_folder(out_dir: Path) -> Iterator[Path]:
    """A hidden folder inside `out_dir`, for one process at a time.

    It outlives a kill and an interruption, for the next call to go on; after an error nothing of it, nor an `out_dir`
    that was not there before, stays behind.

    Raises:
        BusyError: another process is at work there.
        InputError: the disk is full.
    """
    made = not out_dir.exists()
    work = out_dir / HALF_DONE
    try:
        with locked(work, busy=f"{out_dir}: another process is at work there; wait for it"):
            work.mkdir(exist_ok=True)
            try:
                yield work
            except NewerError:  # what is half done there goes on with the version that began it
                raise
            except Exception:
                shutil.rmtree(work, ignore_errors=True)
                raise
            shutil.rmtree(work, ignore_errors=True)
    except Exception as error:
        if made and out_dir.is_dir() and not any(out_dir.iterdir()):
            out_dir.rmdir()
        cause = error.__cause__ if isinstance(error, InputError) else error  # of a hidden file, which says little
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(f"{out_dir}: the disk is full; free some space and segment the slide again") from error
        raise
