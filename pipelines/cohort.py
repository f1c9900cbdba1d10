"""Stage `cohort`: slides with their patients and splits, as data/cohort/slides.csv."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from pipelines import run_stage
from wsss_mm.settings import Params
from wsss_mm.slides.table import write_slide_table

COHORT = Path("data/cohort")


def main(params: Params) -> None:
    """Make data/cohort whole or not at all."""
    with _folder(COHORT) as folder:
        write_slide_table(_slides(params, folder), folder / "slides.csv")


def _slides(params: Params, folder: Path) -> pd.DataFrame:
    cohort = params.cohort
    if cohort.name == "phantom":
        from wsss_mm.slides.phantom import generate_cohort

        return generate_cohort(folder, cohort.phantom.slides, cohort.phantom.size, params.seed)
    if cohort.name == "slides":
        from wsss_mm.slides.adopt import adopt_slides

        return adopt_slides(cohort.source, COHORT)
    from wsss_mm.patches.importers import list_slides

    return list_slides(cohort.name, cohort.source)


@contextmanager
def _folder(target: Path) -> Iterator[Path]:
    """A folder that becomes `target` when it is complete; until then, and after a failure, `target` is as it was."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
    try:
        temporary.chmod(0o755)
        yield temporary
        if target.exists():
            shutil.rmtree(target)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


if __name__ == "__main__":
    run_stage(main)
