"""What people say of patches: journals, settled labels, agreement of readers, exchange with other tools."""

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
