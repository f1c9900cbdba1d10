"""What is wrong in the list of what is set aside, with what gates and cohort know: asked when it is written."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from wsss_mm.errors import InputError
from wsss_mm.patches.quarantine import KINDS, PATH, Entry, add_entries, known_ids, meant_instead, quarantine_rows
from wsss_mm.settings.gates import check_names, expected
from wsss_mm.yaml_places import suggestion


def set_aside(new: Iterable[Entry], path: Path | str = PATH) -> list[Entry]:
    """Add to the list what is not in it yet, and give back what was added; what is in it is named in a warning.

    Raises:
        InputError: an entry is incomplete or says what cannot be, or the list is wrong.
    """
    new = list(new)
    for entry in new:
        _check_reason(entry, f"{entry.kind} {entry.id}")
    return add_entries(new, path)


def quarantine_faults(path: Path | str = PATH, data: Path | str | None = None) -> Iterator[str]:
    """What is wrong in a list that people may have edited: each line that names what is not there, or that twice.

    Args:
        path: The list.
        data: Folder of `cohort` and `patches`; as far as they have been made, ids are looked up there. By default that
            of the list.

    Raises:
        InputError: See `wsss_mm.patches.quarantine.read_quarantine`.
    """
    path = Path(path)
    data, first = Path(path.parent if data is None else data), dict[tuple[str, str], int]()
    known = {kind: known_ids(kind, data) for kind in KINDS}
    cut = tuple(f"{name}-" for name in known["slide"][1])
    for line, entry in quarantine_rows(path):
        where, (places, names) = f"{path}: line {line}", known[entry.kind]  # ty: ignore[invalid-argument-type]
        before = first.setdefault((entry.kind, entry.id), line)
        if before != line:
            yield f"{where}: {entry.kind} {entry.id!r} is on line {before} already; remove one of them"
        try:
            _check_reason(entry, where)
        except InputError as error:
            yield str(error)
        of_a_slide = entry.kind == "patch" and entry.id.startswith(cut)  # it may not have been cut
        if places and entry.id not in names and not of_a_slide:
            hint = meant_instead(entry.kind, entry.id, names, data)
            yield f"{where}: {entry.kind} {entry.id!r} is not in {places[0]}{hint}; correct the row or remove it"


def _check_reason(entry: Entry, where: str) -> None:
    """Refuse a reason that nobody can look up: a gate or a check that there is not."""
    gates = expected()
    if entry.gate and entry.gate not in gates:
        hint = suggestion(entry.gate, gates) or f"; choose from {', '.join(gates)}"
        raise InputError(f"{where}: there is no gate {entry.gate!r}{hint}")
    if entry.expectation:
        checks = check_names(entry.gate) if entry.gate else [name for gate in gates for name in check_names(gate)]
        if entry.expectation not in checks:
            of = f"gate {entry.gate}" if entry.gate else "any gate"
            hint = suggestion(entry.expectation, checks) or "; leave the cell empty, and say why in reason"
            raise InputError(f"{where}: {entry.expectation!r} is no check of {of}{hint}")
