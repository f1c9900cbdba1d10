"""Labels of patches in the formats of other tools; what was exported is imported again exactly as it was."""

from wsss_mm.labelling.exchange.said import PatchLabels, journal_entries, said_by, said_of_all

__all__ = ["PatchLabels", "journal_entries", "said_by", "said_of_all"]
