"""What was found on slides, on pages that a pathologist reads and signs: no word of how the program was made.

`survey` looks over a map, `slide` and `cohort` say what goes on a page, `html` and `pdf` draw it, `writing` does all.
"""

from wsss_mm.findings.slide import Asked
from wsss_mm.findings.writing import FindingsRun, write_findings

__all__ = ["Asked", "FindingsRun", "write_findings"]
