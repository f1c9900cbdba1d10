"""Make the page of `dvc plots show` and `dvc plots diff` self-contained.

DVC's own page loads Vega from the internet and stays empty without it. This fetches Vega once through npm, checks it,
writes a page with it inside into the Python environment, and names that page in .dvc/config.local.
"""

import subprocess
import sys
from pathlib import Path

from wsss_mm.errors import InputError
from wsss_mm.files import write_text
from wsss_mm.npm import NpmPackage, shared_folder

SETUP = "python scripts/plots_page.py"
PACKAGES = (
    NpmPackage(
        "vega",
        "5.33.0",
        "jNAGa7TxLojOpMMMrKMXXBos4K6AaLJbCgGDOw1YEkLRjUkh12pcf65J2lMSdEHjcEK47XXjKiOUVZ8L+MniBA==",
        SETUP,
    ),
    NpmPackage(
        "vega-lite",
        "5.23.0",
        "l4J6+AWE3DIjvovEoHl2LdtCUkfm4zs8Xxx7INwZEAv+XVb6kR6vIN1gt3t2gN2gs/y4DYTs/RPoTeYAuEg6mA==",
        SETUP,
    ),
    NpmPackage(
        "vega-embed",
        "6.29.0",
        "PmlshTLtLFLgWtF/b23T1OwX53AugJ9RZ3qPE2c01VFAbgt3/GSNI/etzA/GzdrkceXFma+FDHNXUppKuM0U6Q==",
        SETUP,
    ),
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


def render_page(scripts: list[str]) -> str:
    """The page, with DVC's placeholders for the plots and with the scripts inside."""
    inside = "\n".join("<script>" + text.replace("</script", "<\\/script") + "</script>" for text in scripts)
    return _PAGE.replace("SCRIPTS", inside)


def main() -> int:
    """Fetch, write, and tell DVC."""
    try:
        scripts = []
        for package in PACKAGES:
            if not package.archive.is_file():
                package.fetch(package.archive)
            files = package.read(package.archive)
            scripts.append(files[f"package/build/{package.name}.min.js"].decode("utf-8"))
        page = shared_folder() / "plots.html"
        write_text(page, render_page(scripts))
    except (InputError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    dvc = Path(sys.executable).with_name("dvc")
    return subprocess.run([dvc, "config", "--local", "plots.html_template", page], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
