"""axe-core, which finds what people with other eyes, ears or hands cannot use.

`python -m tests.web.label.axe` fetches it.
"""

from wsss_mm.javascript import Bundle

AXE = Bundle(
    "axe-core 4.12.1",
    "axe-playwright-python",
    "0.1.8",
    "axe_playwright_python-0.1.8-py3-none-any.whl",
    "fdd263c998388f1a8e67cad02677e612d946248bd44d163be5e8650ea31f95f8",
    setup="python -m tests.web.label.axe",
)


def source() -> str:
    """The script itself."""
    return AXE.read(AXE.archive)["axe_playwright_python/axe.min.js"].decode("utf-8")


def serious(page, context: str = "document") -> list[tuple[str, list[str]]]:
    """What axe-core finds serious or critical on a page, with the elements' beginnings.

    Args:
        page: of Playwright, with the part to look at on it.
        context: what to look at, as JavaScript.
    """
    report = page.evaluate(f"(() => {{ {source()}; return axe.run({context}, {{resultTypes: ['violations']}}); }})()")
    return [
        (item["id"], [node["html"][:120] for node in item["nodes"][:3]])
        for item in report["violations"]
        if item["impact"] in ("serious", "critical")
    ]


if __name__ == "__main__":
    AXE.fetch(AXE.archive)
