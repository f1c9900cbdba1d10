"""Stage `register`: the segmenter becomes a version of the registered model, with the evidence for it and a card."""

import logging
from dataclasses import replace
from pathlib import Path

from pipelines import run_stage
from wsss_mm.files import digest, read_json, write_json
from wsss_mm.settings import Params
from wsss_mm.tracking import find_run, keep_evidence, read_evidence, register_segmenter, version_card
from wsss_mm.tracking.promotion import current_champion, doubts
from wsss_mm.tracking.runs import refuse_unsent
from wsss_mm.tracking.store import be_patient, connect

MODEL, CLASSIFIER, OUT = Path("models/segmenter"), Path("models/classifier"), Path("reports/registered.json")


def main(params: Params) -> None:
    """Register; the out names the model and its weights, not the version, which differs from store to store."""
    be_patient()
    refuse_unsent(MODEL / "weights.pth", CLASSIFIER / "weights.pth")
    name, evidence = params.register_.model_name, read_evidence(Path())
    miou, interval = evidence.miou, evidence.interval()
    gates = {f"gate.{gate}": outcome for gate, outcome in evidence.gates.items()}
    tags = {
        "test.miou": "undefined" if miou is None else f"{miou:.4f}",
        "test.interval": f"{interval[0]:.4f} to {interval[1]:.4f}" if interval else "none",
        "test.split": evidence.test.get("test_split", "unknown"),
        "data.patches": evidence.digests.get("data/patches", "unknown"),
        **gates,
    }
    against = doubts(evidence, digest(MODEL / "weights.pth", "md5"))
    done = register_segmenter(MODEL, name, tags=tags, champion=not against)
    classifier = find_run(CLASSIFIER / "weights.pth") if CLASSIFIER.is_dir() else None
    runs = {"train_segmenter": done.run_id, "train_classifier": classifier and classifier.info.run_id}
    client = connect().MlflowClient()
    for run_id in filter(None, runs.values()):
        for gate, outcome in gates.items():
            client.set_tag(run_id, gate, outcome)
    commit = client.get_run(done.run_id).data.tags.get("git.commit", "unknown")
    evidence = replace(evidence, lineage={"commit": commit, "runs": runs})
    keep_evidence(Path(), done.run_id, evidence.lineage)
    card = version_card(read_json(MODEL / "model.json"), evidence)
    client.update_model_version(name, done.version, description=card)
    logging.getLogger(__name__).info(
        "%s version %s%s", done.name, done.version, "" if done.created else ", registered before"
    )
    if against and current_champion(name) is None:
        logging.getLogger(__name__).warning(
            "%s has no champion, and version %s does not become it by itself: %s; if it shall: "
            "wsss-mm models promote %s --name %s",
            *(name, done.version, "; ".join(against), done.version, name),
        )
    named = {"model": done.name, "weights_md5": done.weights_md5, "digest": done.digest}
    write_json(OUT, named | {"test": {"miou": miou}, "gates": evidence.gates})


if __name__ == "__main__":
    run_stage(main)
