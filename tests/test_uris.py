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
        "https://h/cb#access_token={s}&x=1",
        "https://h/?auth={s}",
        "host=h password={s} user=alice",
        "AWS_SECRET_ACCESS_KEY={s} was refused",
        "PGPASSWORD = {s}",
        "Authorization: Bearer {s}",
        "postgresql://h/db?options=-c password={s}",
    ],
)
def test_no_secret_of_a_driver_or_a_header_is_shown(text):
    assert shown(text.format(s=SECRET)) == text.format(s="***")


@pytest.mark.parametrize("text", ["sigma=1.0 key=3", "patches.key=a", "https://h/?author=Anna", "tokens = 3, keys=4"])
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
    ],
)
def test_what_is_no_secret_stays(text):
    assert shown(text) == text


def test_an_input_error_shows_none():
    assert SECRET not in str(InputError(f"http://alice:{SECRET}@mlflow.example: the server does not answer"))


def test_a_line_of_the_log_shows_none():
    record = logging.LogRecord("x", logging.WARNING, "", 0, "in %s", (f"mysql://a:{SECRET}@h/d",), None)
    assert OneLine("%(message)s").format(record) == "in mysql://h/d"
