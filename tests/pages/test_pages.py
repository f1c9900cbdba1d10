"""One stylesheet and one environment for all pages."""

import re

import pytest
from jinja2 import UndefinedError

from wsss_mm.pages import environment, rooms, shown_in_room, stylesheet

COLOUR = re.compile(r"#[0-9a-fA-F]{3,8}\b|\b(?:rgba?|hsla?|light-dark)\(")
OF_DATA = re.compile(r"rgb\(\{\{.*?\}\}\)")  # a class's own, filled in
HOME = "wsss_mm/pages/style.css"

TEXT = {  # colours of text, and what they stand on
    "--ink": ("--ground", "--paper", "--raised", "--accent-soft", "--wait-soft", "--bad-soft", "--veil"),
    "--faint": ("--ground", "--paper", "--raised"),
    "--accent": ("--ground", "--paper", "--raised", "--accent-soft"),
    "--good": ("--paper", "--ground"),
    "--bad": ("--paper", "--ground", "--bad-soft"),
    "--wait": ("--paper", "--ground"),
    "--on-accent": ("--accent",),
    "--on-bad": ("--bad-ground",),
    "--on-ramp-low": ("--ramp-low",),
    "--on-ramp-high": ("--ramp-high",),
}


@pytest.fixture(scope="module")
def looks(project_root):
    """All that says how pages look, by its place in the project."""
    files = [path for kind in ("css", "html") for path in (project_root / "wsss_mm").rglob(f"*.{kind}")]
    return {path.relative_to(project_root).as_posix(): path.read_text(encoding="utf-8") for path in files}


def test_colours_stand_in_one_file(looks):
    found = {
        name: said
        for name, text in looks.items()
        if name != HOME and (said := COLOUR.findall(OF_DATA.sub("", text.replace("&#39;", ""))))
    }
    assert found == {}


def test_how_a_page_begins_stands_in_one_file(project_root):
    files = [path for kind in ("py", "html") for path in (project_root / "wsss_mm").rglob(f"*.{kind}")]
    begin = [path for path in files if re.search("<!doctype|name=.viewport", path.read_text(encoding="utf-8"), re.I)]
    assert begin == [project_root / "wsss_mm/pages/__init__.py"]


def test_no_page_written_in_python_has_a_style_of_its_own(project_root):
    modules = (project_root / "wsss_mm").rglob("*.py")
    own = [str(path) for path in modules if re.search(r"<style>(?!\{stylesheet)", path.read_text(encoding="utf-8"))]
    assert own == []


def test_what_is_named_is_defined(looks, project_root):
    text = "\n".join(looks.values())
    scripts = [path.read_text(encoding="utf-8") for path in (project_root / "wsss_mm").rglob("*.js")]
    defined = set(re.findall(r"(--[\w-]+):", text)) | set(re.findall(r"['\"](--[\w-]+)['\"],", "\n".join(scripts)))
    assert set(re.findall(r"var\((--[\w-]+)", text)) <= defined
    assert set(re.findall(r"tone\('(--[\w-]+)'", "\n".join(scripts))) <= defined


def _rgb(text):
    if text.startswith("#"):
        return [int(text[at : at + 2], 16) for at in (1, 3, 5)]
    return [int(number) for number in re.findall(r"\d+", text)[:3]]


def _luminance(color):
    parts = [value / 255 for value in _rgb(color)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_can_be_read(looks, theme):
    """At least 4.5 to 1, as WCAG's AA asks for."""
    values = dict(re.findall(r"(--[\w-]+): (.+);", looks[HOME]))
    both = {name: re.fullmatch(r"light-dark\((.+\)|\S+), (.+)\)", value) for name, value in values.items()}
    colours = {name: found[theme + 1] if (found := both[name]) else value for name, value in values.items()}
    bad = {}
    for text, grounds in TEXT.items():
        for ground in grounds:
            high, low = sorted((_luminance(colours[text]), _luminance(colours[ground])), reverse=True)
            if (ratio := (high + 0.05) / (low + 0.05)) < 4.5:
                bad[text, ground] = round(ratio, 2)
    assert bad == {}


def test_what_is_filled_in_is_escaped_and_what_is_missing_is_an_error():
    templates = environment("wsss_mm.web")
    assert templates.from_string("{{ name }}").render(name="<b>") == "&lt;b&gt;"
    assert templates.from_string("{{ name | urlencode }}").render(name="M\udcfc/") == "M%FC%2F"
    assert templates.from_string("{{ stylesheet() }}").render() == stylesheet()
    with pytest.raises(UndefinedError):
        templates.from_string("{{ not_given }}").render()


def test_a_written_page_gets_the_way_to_the_rooms_and_loses_its_policy():
    policy = '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'">'
    page = f'<html><head>\n{policy}</head><body class="a">b'
    shown = shown_in_room(page, '/"<', "gates", "n1")
    assert "http-equiv" not in shown
    assert '<head><script src="/&#34;&lt;pages/theme.js" nonce="n1"></script><link rel="icon" href="data:,">' in shown
    assert "</a>\n<a " in shown  # links of pages that an older stylesheet is in stand apart
    assert '<body class="a"><nav class="rooms"' in shown
    assert '<a href="/&#34;&lt;gates/" aria-current="page">Gates</a>' in shown


def test_a_page_that_stands_alone_has_no_way_to_rooms():
    alone = rooms(None, "view")
    assert "<a " not in alone
    assert 'id="theme"' in alone
