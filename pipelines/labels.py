"""Stage `labels`: the table of labelled patches, of what readers said in their journals."""

import logging
import runpy
from typing import TYPE_CHECKING

from wsss_mm import places
from wsss_mm.labelling.journal import read_journals
from wsss_mm.labelling.settled import check_replaceable, label_rows, settle_labels, write_labels
from wsss_mm.vocabulary import get_vocabulary

if TYPE_CHECKING:
    from wsss_mm.settings import Params

logger = logging.getLogger(__name__)

LABELS, OUT = places.LABELS_FOLDER, places.LABELS


def main(params: "Params") -> None:
    """Make data/labels.csv of the journals; without any, it stays as it is."""
    journals = read_journals(LABELS)
    if not journals.readers:
        if not OUT.exists():
            write_labels(OUT, [])
        return
    if params.cohort.labels != OUT:
        logger.warning("params.yaml: cohort.labels names %s, and labels of journals are %s", params.cohort.labels, OUT)
    vocabulary = get_vocabulary(params.cohort.vocabulary)
    check_replaceable(OUT, journals, vocabulary)
    patches = {"mpp": params.patches.mpp, "size": params.patches.size}
    rows = label_rows(settle_labels(journals), vocabulary, **patches, where=str(LABELS))
    write_labels(OUT, rows)
    logger.info("%s: %d patches of %d readers", OUT, len(rows), len(journals.readers))


if __name__ == "__main__":
    runpy.run_module("pipelines", run_name="__main__")
