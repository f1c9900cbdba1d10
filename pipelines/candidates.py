"""Stage `candidates`: the patches of the slides that can be labelled, as a table without pixels."""

import runpy
from typing import TYPE_CHECKING

from wsss_mm import places
from wsss_mm.cohort import TABLE, Cohort
from wsss_mm.files import atomic_folder
from wsss_mm.labelling.candidates import find_candidates, raise_broken, write_candidates
from wsss_mm.patches.quarantine import quarantined, slides_aside

if TYPE_CHECKING:
    from wsss_mm.settings import Params

OUT = places.CANDIDATES
MEMORY = places.WORK / "candidates"


def main(params: "Params") -> None:
    """Make data/candidates of all slides that can be read, and then name those that cannot."""
    cohort = Cohort.read(TABLE)
    found = find_candidates(
        cohort,
        params.patches,
        without=slides_aside(cohort.frame),
        aside=quarantined("patch"),
        memory=MEMORY,
    )
    with atomic_folder(OUT) as folder:
        write_candidates(found.table, folder)
    raise_broken(found.failed)


if __name__ == "__main__":
    runpy.run_module("pipelines", run_name="__main__")
