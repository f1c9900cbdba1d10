"""Who is champion: moved only by evidence, or by a person with a reason; every move can be taken back."""

import logging
import platform
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from wsss_mm.errors import InputError
from wsss_mm.formats import read_object
from wsss_mm.gates import GATES, report_path
from wsss_mm.gates.champion import Pin, Rival
from wsss_mm.outage import is_outage
from wsss_mm.places import GATE_REPORT
from wsss_mm.tracking.changes import run_of
from wsss_mm.tracking.evidence import Evidence, run_evidence
from wsss_mm.tracking.finding import WEIGHTS_TAG
from wsss_mm.tracking.registry import CHALLENGER, CHAMPION, check_stored, find_version, quoted
from wsss_mm.tracking.store import connect

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

logger = logging.getLogger(__name__)

OVER = "promotion.over"
"""Tag of a champion: the numbers of those before it, newest first."""

_REASON, _WHEN, _REFUSED = "promotion.forced", "promotion.time", "promotion.objections"
_MOVING = "promotion.moving."
"""What tags of a registered model begin with while somebody moves its champion; see `_exclusive`."""
_NONE = "none"
_BROKEN_OFF = 60.0  # s: a move takes far less
_POLL = 0.2  # s


@dataclass(frozen=True)
class Promotion:
    """The champion after a move, the one before, if any, and what spoke against it."""

    name: str
    version: str
    previous: str | None
    objections: tuple[str, ...] = ()


def objections(challenger: Evidence, champion: Evidence | None) -> list[str]:
    """What speaks against a promotion; nothing, if every gate passed and the champion is beaten.

    The champion is beaten if, on the same data, the challenger's test mIoU lies above the upper end of the champion's
    bootstrap interval.

    Args:
        challenger: Of the version to promote.
        champion: Of the version it would replace, None if there is none.
    """
    found = []
    for gate in GATES:
        outcome = challenger.gates.get(gate)
        if outcome != "passed":
            found.append(f"gate {gate} {outcome or 'has no report'}")
    if challenger.miou is None:
        found.append("it has no test mIoU")
    if champion is None or challenger.miou is None:
        return found
    own, theirs = challenger.tested_on, champion.tested_on
    if own is None or own != theirs:
        found.append(
            f"it was tested on data {_short(own)}, the champion on data {_short(theirs)} (if that is another task, "
            "register this one under another name: register.model_name in params.yaml)"
        )
    interval = champion.interval()
    if champion.miou is None or interval is None:
        found.append("the champion's test mIoU has no interval")
    elif challenger.miou <= interval[1]:
        found.append(
            f"its test mIoU {challenger.miou:.4f} is not above the champion's interval "
            f"{interval[0]:.4f} to {interval[1]:.4f}"
        )
    return found


def promote(name: str, version: str | None = None, *, reason: str | None = None) -> Promotion:
    """Make a version the champion.

    Of several who promote at once, one gets the champion; the others are told which it is, and may look again.

    Args:
        name: The registered model.
        version: A number or alias, the challenger if None.
        reason: Promote even if something speaks against it, and keep this reason as a tag.

    Raises:
        InputError: there is no such version, something speaks against it and no reason is given, or the champion
            changed meanwhile; or the files or the evidence of the version are no longer those that were registered.
    """
    candidate = find_version(name, version or CHALLENGER)
    champion = current_champion(name)
    if champion is not None and champion.version == candidate.version:
        raise InputError(f"{name} version {candidate.version} is the champion already")
    with tempfile.TemporaryDirectory() as folder:
        own = run_evidence(run_of(candidate), Path(folder) / "challenger")
        theirs = run_evidence(run_of(champion), Path(folder) / "champion") if champion else None
        against = objections(own, theirs)
    if against and reason is None:
        raise InputError(
            f"{name} version {candidate.version} is not promoted: {'; '.join(against)}; mend it, or: wsss-mm models "
            f"promote {candidate.version} --force REASON"
        )
    check_stored(candidate)
    forced = reason if against else None
    _move(name, candidate, champion, reason=forced, against=against)
    return Promotion(name, str(candidate.version), str(champion.version) if champion else None, tuple(against))


def doubts(evidence: Evidence, weights_md5: str) -> list[str]:
    """What speaks against a model as the champion of a registry that has none yet: such a registry may just be new.

    Args:
        evidence: Of the line that made the model.
        weights_md5: Of the model.
    """
    found = objections(evidence, None)
    if any(row.get("below_champion") is not None for row in measured(evidence, "segmenter", "metrics")):
        found.append("gate segmenter compared it with a champion, which another registry has")
    others = {str(row.get("weights_md5")) for row in measured(evidence, "slides", "models")} - {weights_md5}
    if others:
        found.append(f"gate slides judged maps of weights {', '.join(sorted(map(_short, others)))}")
    return found


def measured(evidence: Evidence, gate: str, table: str) -> list[dict[str, Any]]:
    """Rows of a short table that a gate's report shows."""
    path = evidence.folder / report_path(gate)
    tables = read_object(path, GATE_REPORT).get("measured") if path.is_file() else {}
    return list(((tables or {}).get(table) or {}).get("values") or ())


def rollback(name: str, reason: str) -> Promotion:
    """Give the alias back to the version that had it before the champion.

    Raises:
        InputError: there is no champion, or none before it that still exists.
    """
    champion = current_champion(name)
    if champion is None:
        raise InputError(f"{name} has no champion; see: wsss-mm models list")
    before = _before(name, champion)
    if before is None:
        raise InputError(f"{name} version {champion.version} replaced no version that still exists; promote another")
    _move(name, before, champion, reason=f"rollback: {reason}", against=[], keep_over=True)
    return Promotion(name, str(before.version), str(champion.version))


def delete(name: str, version: str, reason: str) -> Promotion | None:
    """Delete a version; a champion's alias first goes back to the version before it, or to none.

    Its run, and so its history, stay.

    Returns:
        The new champion, None if the version was not the champion or none was before it.

    Raises:
        InputError: there is no such version.
    """
    client, doomed, champion = connect().MlflowClient(), find_version(name, version), current_champion(name)
    moved = None
    if champion is not None and champion.version == doomed.version:
        if _before(name, champion) is not None:
            moved = rollback(name, reason)
        else:
            with _exclusive(name, doomed):
                _check_champion(name, champion)
                client.delete_registered_model_alias(name, CHAMPION)
    client.set_tag(doomed.run_id, f"deleted.{name}.{doomed.version}", reason)
    client.delete_model_version(name, doomed.version)
    return moved


def current_champion(name: str) -> "ModelVersion | None":
    """The version with the alias `champion`."""
    mlflow = connect()
    client = mlflow.MlflowClient()
    try:
        version = client.get_registered_model(name).aliases.get(CHAMPION)
    except mlflow.exceptions.MlflowException as error:
        if is_outage(error):
            raise
        raise InputError(f"no registered model {name!r}; make one: dvc repro -s -f register") from None
    return None if version is None else client.get_model_version(name, str(version))


def champion_pin(name: str) -> Pin:
    """The champion of a registered model and the one before it, as champion.json keeps them.

    Raises:
        InputError: there is no such model.
    """
    champion = current_champion(name)
    before = None if champion is None else _before(name, champion)
    return Pin(name, *(None if version is None else _rival(version) for version in (champion, before)))


def _rival(version: "ModelVersion") -> Rival:
    tags = version.tags
    try:
        miou = float(tags["test.miou"])
    except (KeyError, ValueError):  # "undefined", where no class had a pixel of truth
        miou = None
    return Rival(str(version.version), tags.get(WEIGHTS_TAG, ""), miou, tags.get("test.split", ""))


def _before(name: str, champion: "ModelVersion") -> "ModelVersion | None":
    """The champion before this one, passing over versions that were deleted."""
    existing = {str(item.version) for item in _versions(name)}
    over = champion.tags.get(OVER, _NONE).split()
    found = next((version for version in over if version in existing and version != str(champion.version)), None)
    return None if found is None else connect().MlflowClient().get_model_version(name, found)


def _versions(name: str) -> "list[ModelVersion]":
    return list(connect().MlflowClient().search_model_versions(f"name = '{quoted(name)}'"))


def _move(
    name: str,
    candidate: "ModelVersion",
    champion: "ModelVersion | None",
    *,
    reason: str | None,
    against: list[str],
    keep_over: bool = False,
) -> None:
    """Say why in tags, set the alias and read it back; not if the champion is no longer the one compared with."""
    client = connect().MlflowClient()
    tags = {
        _WHEN: datetime.now(timezone.utc).isoformat(timespec="seconds"),
        _REASON: reason or _NONE,  # written over, not deleted: that is for whoever made the model alone
        _REFUSED: "; ".join(against) or _NONE,
    }
    if not keep_over:
        over = [] if champion is None else [str(champion.version), *champion.tags.get(OVER, "").split()]
        tags[OVER] = " ".join(dict.fromkeys(item for item in over if item not in (_NONE, str(candidate.version))))
    with _exclusive(name, candidate):
        _check_champion(name, champion)
        for key, value in tags.items():  # before the alias: a champion without them could not be taken back
            client.set_model_version_tag(name, candidate.version, key, value)
        client.set_registered_model_alias(name, CHAMPION, candidate.version)
        _check_champion(name, candidate)


def _check_champion(name: str, version: "ModelVersion | None") -> None:
    """Raise `InputError` if the champion is another version than this one."""
    now = current_champion(name)
    if (now and now.version) != (version and version.version):
        raise InputError(f"{name}: version {now.version if now else 'none'} became champion meanwhile; look again")


@contextmanager
def _exclusive(name: str, candidate: "ModelVersion") -> Iterator[None]:
    """Within the block nobody else moves the alias; who comes second waits.

    MLflow sets an alias without looking at what it was. So whoever wants to move it first says so in a tag of the
    registered model, a key of their own, then looks for such tags of others, and goes on only where there are none: of
    two, the one who wrote later sees the other. Of several who see each other, the first in the alphabet stays and the
    others step back. A tag that stays unchanged for `_BROKEN_OFF` is of a move that was killed, and is removed.
    """
    client = connect().MlflowClient()
    mine, claimed = f"{_MOVING}{uuid4().hex}", False
    waiting: dict[str, float] = {}  # since when we see the claims of others, by our own clock
    try:
        while True:
            others = {key for key in client.get_registered_model(name).tags if key.startswith(_MOVING)} - {mine}
            if claimed and not others:
                break
            if others and not waiting:
                logger.info("%s: somebody else moves the champion at this moment; waiting", name)
            first = all(mine < key for key in others)
            if first and not claimed:
                client.set_registered_model_tag(name, mine, f"version {candidate.version}, on {platform.node()}")
                claimed = True
                continue
            if claimed and not first:
                client.delete_registered_model_tag(name, mine)
                claimed = False
            for key in others:
                if time.monotonic() - waiting.setdefault(key, time.monotonic()) > _BROKEN_OFF:
                    logger.warning("%s: a move of the champion was broken off, and its tag %s is removed", name, key)
                    client.delete_registered_model_tag(name, key)
            time.sleep(_POLL)
        yield
    finally:
        if claimed:
            client.delete_registered_model_tag(name, mine)


def _short(md5: str | None) -> str:
    return md5[:8] if md5 else "unknown"
