"""Ids in a table of slides that are probably meant to be one, and names that some file systems take for one."""

import logging

import pandas as pd

from wsss_mm.errors import InputError
from wsss_mm.names import likeness, look_alikes

logger = logging.getLogger(__name__)

_DIFFER = "differ only in case, white space, the form of letters or leading zeros"


def check_alike(slides: pd.DataFrame, where: str) -> None:
    """Stop where patients that look alike are in different splits, and warn where they are not.

    Args:
        slides: one row a slide, with slide_id, patient_id and split.
        where: what messages name as the place of a fault.

    Raises:
        InputError: as above, or the ids of two slides differ only in case.
    """
    for patients, splits in alike_patients(slides):
        said = f"{where}: patients {' and '.join(map(repr, patients))} {_DIFFER}"
        if len(splits) > 1:
            raise InputError(
                f"{said}, and are in the splits {' and '.join(splits)}: results of one patient in two splits would be "
                "too good; write one patient_id the same in every row, or give two patients ids that differ in more"
            )
        logger.warning("%s; if they are one, write its patient_id the same in every row", said)
    by_case: dict[str, str] = {}
    for slide_id in slides["slide_id"].drop_duplicates():
        other = by_case.setdefault(slide_id.casefold(), slide_id)
        if other != slide_id:
            raise InputError(
                f"{where}: slides {other!r} and {slide_id!r} differ only in case, and would share their files on macOS "
                "and Windows; give one of them another slide_id"
            )


def alike_patients(slides: pd.DataFrame) -> list[tuple[list[str], list[str]]]:
    """Groups of different patient_ids that look alike, each with the splits it is in; see `names.look_alikes`."""
    by_likeness = slides.groupby(slides["patient_id"].map(likeness))["split"].unique()
    groups = look_alikes(slides["patient_id"])
    return [(patients, sorted(by_likeness[likeness(patients[0])])) for patients in groups]
