"""Secrets of URIs stay in the process."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsss_mm.errors import InputError
from wsss_mm.logs import OneLine
from wsss_mm.uris import shown

SECRET = "hunter2"


@pytest.mark.parametrize("scheme", ["http", "https", "postgresql+psycopg2", "mysql", "mssql+pyodbc", "ssh", "s3", "x"])
@pytest.mark.parametrize("user", [f"alice:{SECRET}@", f"{SECRET}@", f":{SECRET}@", f"a:{SECRET}@b/c:{SECRET}@", ""])
@pytest.mark.parametrize("rest", ["host", "host:5432/db", "[::1]:5432/db", "host/p?password={s}&x=1", "h?sslkey={s}#f"])
def test_no_secret_of_a_uri_is_shown(scheme, user, rest):
    text = f"error: {scheme}://{user}{rest.format(s=SECRET)}: no answer ('{scheme}://{user}h/db')"
    assert SECRET not in shown(text)
    assert shown(text).startswith(f"error: {scheme}://")
    assert shown(text).endswith(f"('{scheme}://h/db')")


@pytest.mark.parametrize(
    "text",
    [
        "https://h/cb#access_token={s}&page=1",
        "https://h/?auth={s}",
        "host=h password={s} user=alice",
        "AWS_SECRET_ACCESS_KEY={s} was refused",
        "PGPASSWORD = {s}",
        "Authorization: Bearer {s}",
        "postgresql://h/db?timeout=5 password={s}",
        "curl --token {s} --max-time 5",
        "curl --token={s} x",
        "Command '['mc', '--api-key', '{s}', 'ls']' returned 1",
        "mc --secret-key '{s}' --table a.csv",
        'push --password "{s}"',
    ],
)
def test_no_secret_of_a_driver_or_a_header_is_shown(text):
    assert shown(text.format(s=SECRET)) == text.format(s="***")


@pytest.mark.parametrize(
    "text",
    [
        *("--key tls.pem --certificate tls.crt", "argument --token: expected one argument", "--token --quiet"),
        *("sigma=1.0 key=3", "patches.key=a", "https://h/?sslmode=require&timeout=5", "tokens = 3, keys=4"),
    ],
)
def test_other_settings_are_shown(text):
    assert shown(text) == text


@given(st.text(st.characters(codec="ascii", exclude_characters="\"'<>` \t\r\n\x0b\x0c\x1c\x1d\x1e\x1f"), min_size=6))
def test_whatever_the_password(password):
    shown_uri = shown(f"postgresql://alice:Q{password}Q@db.example/mlflow")
    assert shown_uri == "postgresql://db.example/mlflow"


@pytest.mark.parametrize(
    "text",
    [
        "models:/segmenter@champion",
        "https://a.example/x@1",
        "http://127.0.0.1:5000/#/a@b",
        "s3://bucket/a@b",
        "a@b: no",
        "git@github.example:group/project.git",
        "git@host:project",
        "joe@lab.example",
        "python:3.11@sha256:0123",
        "/data/x:y@z/a.tiff: no slide",
        "C:\\data\\a@b:c",
        "http://mlflow:5000: no answer, ask joe@lab.example",
        "https://h/a?",
        "was that https://h/a?)",
        "https://docs.example/page.html#section",
        "mailto:joe@lab.example",
    ],
)
def test_what_is_no_secret_stays(text):
    assert shown(text) == text


def test_an_input_error_shows_none():
    assert SECRET not in str(InputError(f"http://alice:{SECRET}@mlflow.example: the server does not answer"))


def test_a_line_of_the_log_shows_none():
    record = logging.LogRecord("x", logging.WARNING, "", 0, "in %s", (f"mysql://a:{SECRET}@h/d",), None)
    assert OneLine("%(message)s").format(record) == "in mysql://h/d"


# Where secrets stand, with the characters that can be theirs there. What is shown must not depend on them at all.
_PRINTABLE = "".join(map(chr, range(33, 127)))
_TOKEN = _PRINTABLE.translate(dict.fromkeys(map(ord, "'\"<>`?&;#")))
_PLACES = {
    "user": ("", ["https://{}@github.example/x.git", "s3://{}:pw@bucket/x"], "-._~%" + "abcXYZ019"),
    "password": (
        "Q",
        ["{scheme}://alice:{}@host:5432/db", "{scheme}://:{}@host", "{scheme}://a%40b:{}@[::1]:1/"],
        _PRINTABLE,
    ),
    "password with spaces": ("Q ", ["{scheme}://alice:{}@host/db"], _PRINTABLE.replace("@", "").replace("/", "")),
    "value": (
        "",
        [
            "{scheme}://h/p?{name}={}",
            "{scheme}://h?{name}={}&timeout=5",
            "{scheme}://h/?timeout=5&{name}={}#part",
            "{scheme}://h/cb#{name}={}",
            "{scheme}://h/#/runs/7?{name}={}",
            "{scheme}://127.0.0.1:1;{name}={};page=2",
            "(Caused by x with url: /api/2.0/x?{name}={}&page=2)",
            "GET /x?{name}={}",
            "grant_type=x&{name}={}",
            "sv=2022-11-02&{name}={}&sr=b",
        ],
        _TOKEN,
    ),
    "value without a name": ("", ["{scheme}://h/?{}", "{scheme}://h/p?{}#part"], _TOKEN.replace("=", "")),
    "scp": (
        "Q",
        [
            "alice:{}@host.example:path/x.git",
            "git:{}@host:x",
            "alice:{}@10.0.0.1:/srv/x",
            "alice:{}@[fe80::1]:x",
            "MLFLOW_TRACKING_URI=alice:{}@mlflow.lab.example",
            "alice:{}@localhost",
            "alice:{}@mlflow:5000",
        ],
        _TOKEN + "?;#",
    ),
    "quoted": (
        "",
        [
            "connect(host='h', password='{}', port=1)",
            "{{'password': '{}', 'x': 1}}",
            '{{"access_token":"{}"}}',
            "{{'Authorization': '{}'}}",
            "host=h password='{}' user=alice",
            '--set X_API_KEY="{}"',
            "['mc', '--client-secret', '{}', 'ls']",
        ],
        _PRINTABLE.translate(dict.fromkeys(map(ord, "'\"\\"))) + " ",
    ),
    "bare": (
        "Q",
        [
            "host=h password={} user=alice",
            "AccountKey={};EndpointSuffix=x",
            "f(secret_key={})",
            "Authorization: Bearer {}",
            "mc --access-token {} ls",
        ],
        _TOKEN + "?#",
    ),
}


@st.composite
def _two_texts(draw):
    """The same text with two different secrets in the same places."""
    one, other = "", ""
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(sorted(_PLACES)))
        prefix, templates, characters = _PLACES[place]
        scheme = draw(st.sampled_from(["http", "https", "postgresql+psycopg2", "mssql+pyodbc", "ssh", "s3", "x-y.z"]))
        name = draw(
            st.sampled_from(["code", "access_token", "sig", "X-Amz-Signature", "se", "anything", "a[b]", "p.q"])
        )
        words = draw(st.sampled_from(["error: {}: no answer", "('{}')", "a {}", 'File "x.py", line 1\n  {}\n', "<{}>"]))
        template = draw(st.sampled_from(templates))
        if place in ("password", "scp", "bare"):  # what ends a message may as well be a secret's: kept apart
            words = words.replace("{}:", "{} :")
        secrets = st.text(st.sampled_from(characters), min_size=8, max_size=30)
        one += " " + words.format(template.format(f"{prefix}{draw(secrets)}Q", scheme=scheme, name=name))
        other += " " + words.format(template.format(f"{prefix}{draw(secrets)}Q", scheme=scheme, name=name))
    return one, other


@given(_two_texts())
def test_what_is_shown_does_not_depend_on_secrets(texts):
    one, other = texts
    assert shown(one) == shown(other)
    assert shown(shown(one)) == shown(one)


_PIECES = [
    "models:/segmenter@champion",
    "sqlite:///mlflow.db",
    "sqlite:////data/my%20project/mlflow.db",
    "http://127.0.0.1:5000/#/a@b",
    "http://localhost:5000/#/experiments/1",
    "https://mlflow.lab.example:8443/prefix",
    "mlflow-artifacts:/1/ab/artifacts",
    "s3://bucket/folder/x=1/part",
    "git@host.example:group/x.git",
    "joe@lab.example",
    "params.yaml:12",
    "lr=0.1",
    "tokens=3",
    "min_miou: 0.5",
    "12:30:01",
    "data/slides/a b.tiff",
    "https://h/api?run_id=0123abc&page=2",
    'it\'s "so"',
    "a&b",
    "C#;",
    "why?",
]


@given(
    st.lists(st.sampled_from(_PIECES) | st.text("abcXYZ 0123.,-_()\n", max_size=20), max_size=8),
    st.sampled_from([" ", ", ", ": ", "\n"]),
)
def test_a_text_without_secrets_is_as_it_was(pieces, between):
    assert shown(between.join(pieces)) == between.join(pieces)


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "a.",
        "--token ",
        "--",
        "--a-",
        "a:",
        "a=",
        "token.",
        "password=,",
        "a=b&",
        "x://a:",
        "/?a=",
        "@",
        "password=",
        "a:b@",
        "'",
        "x://",
    ],
)
def test_a_long_text_comes_to_an_end(unit):
    """Tried in all ways that a pattern could match, it would not."""
    assert shown(unit * (200_000 // len(unit)))
