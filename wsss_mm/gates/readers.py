"""Who said what the patches hold: whether readers agree, with each other and with themselves, and looked themselves.

Of the journals in labels/, on the slides of the manifest. Where nobody labelled any of them, nothing is measured.
"""

from collections.abc import Collection, Iterator
from pathlib import Path

import pandas as pd

from wsss_mm.gates.checks import Measured, gate_tables
from wsss_mm.labelling.agreement import agreement_table, mean_kappa, suggested_alone
from wsss_mm.labelling.journal import read_journals
from wsss_mm.places import LABELS_FOLDER
from wsss_mm.settings.gates import PatchesGate

_TABLES = gate_tables("patches")
BETWEEN, WITHIN, SUGGESTIONS = (
    _TABLES[name] for name in ("classes of two readers", "readers", "classes with suggestions")
)


def measure_readers(root: Path, slides: Collection[str], codes: list[str], limits: PatchesGate) -> Iterator[Measured]:
    """Measure what readers said of these slides."""
    journals = read_journals(root / LABELS_FOLDER).of_slides(slides)
    table = agreement_table(journals, codes)
    between = table[(table["kind"] == "between") & (table["n"] >= limits.min_shared)]
    rows = [
        {"who": f"{row['class']} of {row['first']} and {row['second']}", "patches": row["n"], "kappa": row["kappa"]}
        for row in between.to_dict("records")
    ]
    yield BETWEEN.of(pd.DataFrame(rows, columns=["who", "patches", "kappa"]).astype({"kappa": float}))
    rows = []
    for reader in journals.readers:
        twice = len(journals.second_readings(reader))
        own = table[table["first"] == reader]
        if twice >= limits.min_repeats:
            rows.append({"reader": reader, "twice": twice, "kappa": mean_kappa(own, "within")})
    yield WITHIN.of(pd.DataFrame(rows, columns=["reader", "twice", "kappa"]).astype({"kappa": float}))
    counts = suggested_alone(journals.answers(), codes)
    rows = [
        {"class": code, "patches": held, "suggested": taken / held} for code, (held, taken) in counts.items() if held
    ]
    yield SUGGESTIONS.of(pd.DataFrame(rows, columns=["class", "patches", "suggested"]).astype({"suggested": float}))
