"""Fetch the JavaScript of the project's pages, as `make setup` does: what cannot be had is said, and costs no more.

- OpenSeadragon, for slides (`wsss-mm serve`, `view` and `label`).
- Vega, for the page of `dvc plots show` and `dvc plots diff`: DVC's own loads it from the internet and stays empty
  without. It is written into a page in the Python environment, which .dvc/config.local then names.

Both are held by packages of Python, whose archives are checked by their SHA-256 (`wsss_mm/javascript.py`).
"""

import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from wsss_mm.errors import InputError
from wsss_mm.files import write_text
from wsss_mm.javascript import download, shared_folder
from wsss_mm.wsi.viewer.openseadragon import get_archive, read_archive

VEGA, VEGA_VERSION, VEGA_LITE = "vl-convert-python", "1.9.0.post1", "5.21"
VEGA_HASHES = (
    "3c1558fa0055e88c465bd3d71760cde9fa2c94a95f776a0ef9178252fd820b1f",
    "e6ecfe4b7e2ea9e8c30fd6d6eaea3ef85475be1ad249407d9796dce4ecdb5b32",
    "43e9515f65bbcd317d1ef328787fd7bf0344c2fde9292eb7a0e64d5d3d29fccb",
    "b0e7a3245f32addec7e7abeb1badf72b1513ed71ba1dba7aca853901217b3f4e",
    "7e263269ac0d304640ca842b44dfe430ed863accd9edecff42e279bfc48ce940",
)
"""Of its wheels for Linux, macOS and Windows."""

_BUNDLE = (
    f"import vl_convert; print(vl_convert.javascript_bundle('window.vegaEmbed = vegaEmbed;', vl_version='{VEGA_LITE}'))"
)
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
{refresh_tag}
<title>DVC plots</title>
<style>body { font-family: system-ui, sans-serif; margin: 2em; } body > div { margin-bottom: 2em; }</style>
SCRIPTS
</head>
<body>
{plot_divs}
</body>
</html>
"""


def render_page(script: str) -> str:
    """The page, with DVC's placeholders for the plots and with Vega inside."""
    inside = script.replace("</script", "<\\/script")
    return _PAGE.replace("SCRIPTS", f"<script>(() => {{{inside}}})();</script>")


def vega() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, which vl-convert holds; it is unpacked, asked, and not kept.

    Raises:
        InputError: pip cannot fetch it.
    """
    with tempfile.TemporaryDirectory() as folder:
        wheel = download(VEGA, VEGA_VERSION, VEGA_HASHES, Path(folder), "wheel")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
        where = {**os.environ, "PYTHONPATH": folder, "PYTHONUTF8": "1"}
        command = [sys.executable, "-c", _BUNDLE]
        asked = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, env=where)
        if asked.returncode:
            raise InputError(f"{wheel.name}: {(asked.stderr.strip().splitlines() or ['does not run'])[-1]}")
        return asked.stdout


def slides() -> None:
    """Fetch what pages of slides need."""
    read_archive(get_archive())


def plots() -> None:
    """Make the page of plots, and tell DVC."""
    page = shared_folder() / f"plots-{VEGA_VERSION}.html"
    if not page.is_file():
        write_text(page, render_page(vega()))
    dvc = Path(sys.executable).with_name("dvc")
    from_config = os.path.relpath(page, ".dvc")  # DVC writes no folder's umlauts into its config
    subprocess.run([dvc, "config", "--local", "plots.html_template", from_config], check=True)


def main() -> int:
    """Fetch both; 1 where something cannot be had."""
    bad = 0
    work: dict[Callable[[], None], str] = {
        slides: "goes on; slides cannot be looked at in the browser (wsss-mm serve, view, and view Draw of label)",
        plots: "goes on; the page of dvc plots needs internet then",
    }
    for fetch, without in work.items():
        try:
            fetch()
        except (InputError, OSError, subprocess.CalledProcessError) as error:
            sys.stderr.write(f"setup: {error}\nsetup: {without}\n")
            bad = 1
    return bad


if __name__ == "__main__":
    sys.exit(main())
