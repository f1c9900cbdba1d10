"""Inputs and contracts of what stages leave for people and for later stages."""

from pathlib import Path

from tests.fuzzing.contract import Target, harmless, one_line, written
from tests.fuzzing.mutation import json_like
from wsss_mm.patches import VOCABULARIES

LUNG = VOCABULARIES["lung"]


_SUMMARY = {
    "slide": {"file": "s1.svs", "bytes": 9, "mpp": 0.5, "bounds": [0, 0, 640, 480]},
    "mpp": 1.0,
    "size": [320, 240],
    "model": {"weights_md5": "0" * 32, "classes": ["TE"], "precision": "fp32"},
    "parameters": {"window": 224, "overlap": 0.5, "weighting": "uniform", "tissue_mask": True},
    "roi": None,
    "classes": {"TE": {"name": "Tumour", "color": [1, 2, 3], "area_mm2": 1.5, "share": 1.0, "polygons": 2}},
    "tissue_area_mm2": 1.5,
    "tumour_stroma_ratio": None,
    "unreadable_share": 0.0,
}
_CHECK = {
    **{"name": "focus", "table": "patches", "expectation": "e", "says": "s", "passed": False, "rows": 9, "remedy": "r"},
    **{"severity": "critical", "index": "patch_id", "unexpected": 2, "offending": ["a", "b"], "examples": ["a (1)"]},
}
_REPORT = {
    **{"gate": "patches", "passed": False, "status": "failed", "digests": {}},
    **{"measured": {"patches": {"rows": 9}}, "checks": [_CHECK, _CHECK | {"passed": True, "severity": "warning"}]},
}


def check_summary(data: bytes, folder: Path) -> None:
    from wsss_mm.wsi.viewer.overview import make_environment, render_overview
    from wsss_mm.wsi.viewer.results import read_result
    from wsss_mm.wsi.viewer.server import view_of

    for name in ("segmentation.tif", "segmentation.geojson", "overlay.png"):
        written(folder, name, b"x")
    written(folder, "summary.json", data)
    with one_line("summary.json"):
        result = read_result(folder)
        assert result.mpp > 0 and min(result.size) > 0 and min(result.bounds[2:]) > 0
        harmless(render_overview([result], command="wsss-mm view x"))
        view = view_of(result, ["map", *(["confidence"] if result.certain else [])], slide=True)
        page = make_environment().get_template("slide.html")
        slide = page.render(result=result, view=view, others=[result.name], older=False, wrong=None, said=None)
        harmless(slide, viewer=True)
        slide.encode()


def check_report(data: bytes, folder: Path) -> None:
    """A gate's report, from the page that shows it and the command that sets its rows aside."""
    from wsss_mm.cli.quarantine import offending
    from wsss_mm.gates.page import render_page

    path = folder / "reports/gates/patches.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    page = render_page(folder)
    harmless(page)
    page.encode()
    with one_line("patches.json"):
        assert all(isinstance(name, str) for _, name, *_ in offending(path, [], None))


def check_metrics(data: bytes, folder: Path) -> None:
    from wsss_mm.gates.reading import gated_digest, metric, read_metrics

    path = folder / "reports/gates/patches.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    with one_line("patches.json"):
        metrics = read_metrics(path, "dvc repro")
        for key in ("a", "b.c", "mean_ap"):
            assert isinstance(metric(metrics, key, path, "dvc repro"), float)
    with one_line("patches.json"):
        assert isinstance(gated_digest(folder, "manifest"), str)


_METRICS = {"a": 1.0, "b": {"c": None}, "mean_ap": 0.5, "digests": {"manifest": "0" * 64}}

TARGETS = [
    Target("summary.json", json_like(_SUMMARY), check_summary, 10),
    Target("reports of gates", json_like(_REPORT), check_report, 15),
    Target("metrics", json_like(_METRICS), check_metrics, 20),
]
