"""Make the documentation a site that can be searched: build/site/html, for `make docs`.

    python scripts/docs_site.py stage     # pages, in order, into build/site
    python scripts/docs_site.py check     # every link and picture of build/site/html leads somewhere

Pages are README.md, docs/*.md and a few beside them, as they are; files that they link to outside of docs/ come along.
API pages are written here, one a room, and filled from docstrings. Links to other hosts are not followed, and no page
may fetch anything from one.
"""

import argparse
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[1]
SITE = Path("build/site")
SETTINGS = Path("scripts/docs_site.toml")

SECTIONS = {
    "Tutorials": ("getting-started", "labelling"),
    "How-to guides": (
        *("own-slides", "own-labels", "data-sets", "slides", "choosing", "comparing-runs", "sharing-data"),
        *("sharing-models", "servers", "many-machines", "paper-scale", "changing-networks", "extending"),
        *("troubleshooting", "contributing"),
    ),
    "Reference": ("gates", "encoders", "performance", "results", "licences", "changelog"),
    "Explanation": ("architecture", "trust", "reliability", "security", "reporting", "standing-on"),
}
"""The pages in order; one that stands in none is a how-to guide."""

BESIDE = {"README": "index", "CONTRIBUTING": "contributing", "SECURITY": "reporting", "CHANGELOG": "changelog"}
"""Pages that lie in the project's root, and what they are called in the site."""

ROOMS = (
    *("slides", "models", "cohort", "patches", "labelling", "inference", "features", "sampling", "cam", "evaluation"),
    *("choosing", "datasets", "engine", "wsi", "findings", "gates", "tracking", "settings", "encoders"),
)
"""Packages with a page of their own; modules beside them share one."""

FIRST = (
    "wsss_mm.vocabulary.get_vocabulary",
    "wsss_mm.slides.reader.open_slide",
    "wsss_mm.slides.tissue.tissue_mask",
    "wsss_mm.cohort.cohort.Cohort",
    "wsss_mm.patches.manifest.read_manifest",
    "wsss_mm.models.losses.noise_suppression_weights",
    "wsss_mm.models.losses.NoiseSuppressedCrossEntropyLoss",
    "wsss_mm.models.store.load_model",
    "wsss_mm.inference.patches.predict",
    "wsss_mm.cam.grad_cam.grad_cam_plus_plus",
    "wsss_mm.cam.voting.vote",
    "wsss_mm.evaluation.confusion.confusion_matrix",
    "wsss_mm.evaluation.confusion.segmentation_metrics",
    "wsss_mm.wsi.segment.segment_slide",
)
"""What a stranger calls first; each has an example, which tests run."""

_PLAIN = re.compile(r"(^[ ]*```.*?^[ ]*```|(?<!`)`[^`]+`(?!`))", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(\]\()([^)\s]+)(\))")


class _Staging:
    """Copies pages and what they link to.

    Args:
        root: The project.
        to: Folder of the site's source.
    """

    def __init__(self, root: Path, to: Path) -> None:
        self.root, self.to = root, to
        self.staged: set[Path] = set()

    def place(self, path: Path) -> PurePosixPath:
        """Where a file of the project lies in the site."""
        inner = PurePosixPath(path.relative_to(self.root).as_posix())
        if inner.parts[0] == "docs":
            return PurePosixPath(*inner.parts[1:])
        if len(inner.parts) == 1 and inner.stem in BESIDE:
            return PurePosixPath(f"{BESIDE[inner.stem]}.md")
        return PurePosixPath("files", inner)

    def add(self, path: Path) -> None:
        """Copy a file, and all that it links to if it is a page."""
        if path in self.staged:
            return
        self.staged.add(path)
        target = self.to / self.place(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix != ".md":
            shutil.copyfile(path, target)
            return
        pieces = _PLAIN.split(path.read_text(encoding="utf-8"))
        pieces[::2] = [_LINK.sub(lambda link: self._led(path, link), piece) for piece in pieces[::2]]
        target.write_text("".join(pieces), encoding="utf-8")

    def _led(self, page: Path, link: re.Match[str]) -> str:
        """A link as it leads within the site; one that leads nowhere stays, for the build to refuse."""
        target, _, anchor = link[2].partition("#")
        path = Path(os.path.normpath(page.parent / target))
        if "://" in link[2] or not target or not path.is_relative_to(self.root) or not path.is_file():
            return link[0]
        self.add(path)
        there = os.path.relpath(self.place(path), self.place(page).parent)
        return f"{link[1]}{there}{'#' if anchor else ''}{anchor}{link[3]}"


def stage(root: Path, to: Path) -> list[dict[str, object]]:
    """Write the site's source and its settings.

    Args:
        root: The project.
        to: The folder; what was in it is gone.

    Returns:
        Its navigation.
    """
    shutil.rmtree(to, ignore_errors=True)
    staging = _Staging(root, to / "source")
    for path in (*(root / f"{name}.md" for name in BESIDE), *sorted((root / "docs").glob("*.md"))):
        if path.is_file():
            staging.add(path)
    navigation: list[dict[str, object]] = [{"wsss_mm": "index.md"}, *_sections(to / "source")]
    settings = (root / SETTINGS).read_text(encoding="utf-8")
    (to / "zensical.toml").write_text(settings.replace("nav = []", f"nav = {_toml(navigation)}", 1), encoding="utf-8")
    return navigation


def _sections(source: Path) -> list[dict[str, object]]:
    """The sections of the navigation: the pages that are there, in order, and those of the API."""
    there = {path.stem for path in source.glob("*.md")} - {"index"}
    others = sorted(there.difference(*SECTIONS.values()))
    pages = {**SECTIONS, "How-to guides": (*SECTIONS["How-to guides"], *others)}
    found: dict[str, list[object]] = {
        title: [f"{name}.md" for name in names if name in there] for title, names in pages.items()
    }
    found["Reference"].append({"API": _api_pages(source / "api")})
    return [{title: entries} for title, entries in found.items()]


def _api_pages(folder: Path) -> list[dict[str, str]]:
    """Write the pages of the API; names that begin with an underscore are left out."""
    folder.mkdir(parents=True)
    first = "\n".join(f"- [`{name.rpartition('.')[2]}`][{name}] of `{name.rpartition('.')[0]}`" for name in FIRST)
    texts = {"First functions": f"# First functions\n\nEach has an example that runs, as tests do it.\n\n{first}\n"}
    texts["shared"] = f"# Shared modules\n\n{_modules(ROOT / 'wsss_mm', '[!_]*.py')}"
    texts |= {name: f"# wsss_mm.{name}\n\n{_modules(ROOT / 'wsss_mm' / name, '**/*.py')}" for name in ROOMS}
    for title, text in texts.items():
        (folder / f"{_file(title)}.md").write_text(text, encoding="utf-8")
    return [{title: f"api/{_file(title)}.md"} for title in texts]


def _modules(folder: Path, pattern: str) -> str:
    """What stands for the modules of a folder; of a package its docstring alone, since what it hands on has a home."""
    found = []
    for path in sorted(folder.glob(pattern)):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[-1] == "__init__":
            heading = "false" if path.parent == folder else "true"
            options = f"    options:\n      members: false\n      show_root_heading: {heading}\n"
            found.append(f"::: {'.'.join(parts[:-1])}\n{options}")
        elif not any(part.startswith("_") for part in parts):
            found.append(f"::: {'.'.join(parts)}\n")
    return "\n".join(found)


def _file(title: str) -> str:
    return title.lower().replace(" ", "-")


def _toml(value: object) -> str:
    """A value of lists, one-key tables and texts; a text is written alike in JSON and TOML."""
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{json.dumps(key)} = {_toml(item)}' for key, item in value.items())} }}"
    return json.dumps(value)


class _Page(HTMLParser):
    """The links of a page, and the anchors in it."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.fetched: set[str] = set()
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what an element links to or is called."""
        for name, value in attrs:
            if value and name in {"href", "src"}:
                self.links.append(value)
                if name == "src" or (tag == "link" and "stylesheet" in (dict(attrs).get("rel") or "")):
                    self.fetched.add(value)
            elif value and (name == "id" or (name == "name" and tag == "a")):
                self.anchors.add(value)


def broken_links(html: Path) -> Iterator[str]:
    """Links that lead to no file or anchor, and what a page would fetch from another host, as `page: link`."""
    pages: dict[Path, _Page] = {}
    for path in sorted(set(html.rglob("*.html")) - {html / "404.html"}):  # which is shown at any address
        pages[path] = _Page()
        pages[path].feed(path.read_text(encoding="utf-8"))
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if link in page.fetched:
                    yield f"{path.relative_to(html)}: {link}, from another host"
                continue
            inner = unquote(parts.path)
            target = Path(os.path.normpath((html if inner.startswith("/") else path.parent) / inner.lstrip("/")))
            target = path if not inner else target / "index.html" if target.is_dir() else target
            anchor = unquote(parts.fragment)
            if not target.is_file() or (anchor and target in pages and anchor not in pages[target].anchors):
                yield f"{path.relative_to(html)}: {link}"


def main() -> int:
    """Stage the pages, or check the links; exit code 1 where one is broken."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("step", choices=("stage", "check"))
    if parser.parse_args().step == "stage":
        stage(ROOT, ROOT / SITE)
        return 0
    broken = list(broken_links(ROOT / SITE / "html"))
    sys.stderr.writelines(f"docs: broken link: {item}\n" for item in broken)
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())
