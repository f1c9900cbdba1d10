"""Labels: which patches can be labelled, what people say of them in journals, what is settled, other tools' files."""

from wsss_mm.labelling.journal import (
    ARTEFACT_KINDS,
    STATES,
    Answer,
    Journal,
    Journals,
    Place,
    State,
    history,
    journal_path,
    new_entry,
    read_journals,
)

__all__ = [
    "ARTEFACT_KINDS",
    "STATES",
    "Answer",
    "Journal",
    "Journals",
    "Place",
    "State",
    "history",
    "journal_path",
    "new_entry",
    "read_journals",
]
