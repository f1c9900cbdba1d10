"""Damaging inputs: bytes, trees of JSON or YAML, and tables. All chance comes from the generator that is handed in."""

import copy
import csv
import io
import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

HOSTILE_TEXT = (
    *(
        "",
        " ",
        ".",
        "..",
        "/",
        "\\",
        "../../../etc/passwd",
        "/etc/passwd",
        "C:\\x",
        "a/../b",
        "con",
        "-",
        "--help",
        "~",
    ),
    *(
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        '"><b>',
        "'",
        '"',
        "&lt;",
        "{{7*7}}",
        "%s%n",
        "$(id)",
    ),
    *(
        "=cmd|'/c calc'!A1",
        "+1",
        "@x",
        "a\nb",
        "a\rb",
        "a\x00b",
        "a\tb",
        "\ufeff",
        "\u202e",
        "\ud800",
        "é",
        "漢",
        "a;b",
    ),
    *(
        "x" * 300,
        "9" * 400,
        "0x10",
        "1e999",
        "-1e999",
        "nan",
        "inf",
        "-0",
        "1_000",
        "٣",
        "²",
        "True",
        "null",
        "1,2",
        "[1",
    ),
)
HOSTILE_VALUES: tuple[Any, ...] = (
    *HOSTILE_TEXT,
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        2**31,
        2**63,
        -(2**64),
        10**400,
        0.0,
        -0.5,
        1e-320,
        1e308,
        float("inf"),
        float("nan"),
    ),
    *([], {}, [[]], [None], {"": None}, {"type": "x"}, [1, 2], ["a"], [0] * 40),
)
_TOKENS = (
    b"\x00",
    b"\xff",
    b"\xff\xff\xff\xff",
    b"\x00\x00\x00\x80",
    b"\xff\xff\xff\x7f",
    b"\n",
    b"\r",
    b",",
    b'"',
    b"[",
)
_TOKENS += (
    b"]",
    b"{",
    b"}",
    b":",
    b"\xef\xbb\xbf",
    b"\xfe\xff",
    b"nan",
    b"1e999",
    b"<",
    b"../",
    b"9" * 30,
    b"\xed\xa0\x80",
)


def damaged(random: Random, data: bytes) -> bytes:
    """The data with one to eight random changes."""
    content = bytearray(data)
    for _ in range(random.randint(1, 8)):
        _damage(random, content)
    return bytes(content)


def _damage(random: Random, content: bytearray) -> None:
    at = random.randint(0, len(content))
    length = random.choice((1, 1, 2, 4, 8, random.randint(1, 64)))
    how = random.randrange(7)
    if how == 0 and content:
        content[min(at, len(content) - 1)] ^= 1 << random.randrange(8)
    elif how == 1 and content:
        content[min(at, len(content) - 1)] = random.randrange(256)
    elif how == 2:
        del content[at : at + length]
    elif how == 3:
        content[at:at] = bytes(random.randrange(256) for _ in range(min(length, 8)))
    elif how == 4:
        token = random.choice(_TOKENS)
        content[at : at + random.choice((0, len(token)))] = token
    elif how == 5:
        start = random.randint(0, len(content))
        content[at:at] = content[start : start + length]
    elif random.randrange(4) == 0:
        del content[at:]


def damaged_tree(random: Random, content: Any) -> Any:
    """A copy of a tree of dicts and lists with one to four random changes."""
    content = {"": copy.deepcopy(content)}
    for _ in range(random.randint(1, 4)):
        _damage_node(random, content)
    return content[""]


def _damage_node(random: Random, root: dict[str, Any]) -> None:
    holder, key = _chosen(random, root)
    how = random.randrange(8)
    if how == 0 and holder is not root:
        del holder[key]
    elif how == 1 and isinstance(holder, dict) and holder is not root:
        holder[random.choice((str(key)[:-1], f"{key}s", "type", *HOSTILE_TEXT[:10]))] = holder.pop(key)
    elif how == 2:
        holder[key] = [holder[key]] * random.randint(0, 3)
    elif how == 3:
        value = holder[key]
        for _ in range(random.choice((1, 1, 2, 60))):
            value = {"type": value} if random.randrange(2) else [value]
        holder[key] = value
    elif how == 4:
        donor, other = _chosen(random, root)
        holder[key] = copy.deepcopy(donor[other]) if donor is not root else random.choice(HOSTILE_VALUES)
    else:
        holder[key] = copy.deepcopy(random.choice(HOSTILE_VALUES))


def _chosen(random: Random, root: dict[str, Any]) -> tuple[Any, Any]:
    """A random place of the tree: what holds it, and its key or index there."""
    holder, key = root, ""
    while random.randrange(5):
        value = holder[key]
        if not (isinstance(value, dict | list) and value):
            break
        holder, key = value, random.choice(list(value)) if isinstance(value, dict) else random.randrange(len(value))
    return holder, key


def damaged_table(random: Random, rows: Sequence[Sequence[str]]) -> bytes:
    """A CSV, header first, with one to five cells, rows or columns changed; sometimes its bytes too."""
    rows = [list(row) for row in rows]
    for _ in range(random.randint(1, 5)):
        row = random.choice(rows)
        how = random.randrange(8)
        if how == 0:
            rows.append(list(random.choice(rows)))
        elif how == 1 and row:
            del row[random.randrange(len(row))]
        elif how == 2:
            row.insert(random.randint(0, len(row)), random.choice(HOSTILE_TEXT))
        elif how == 3 and len(rows) > 1:
            rows.remove(row)
        elif row:
            row[random.randrange(len(row))] = random.choice(HOSTILE_TEXT)
    stream = io.StringIO()
    csv.writer(stream, lineterminator=random.choice(("\n", "\r\n"))).writerows(rows)
    data = stream.getvalue().encode("utf-8", "surrogatepass")
    return damaged(random, data) if random.randrange(4) == 0 else data


def damaged_json(random: Random, content: Any) -> bytes:
    """A tree as JSON, changed as a tree or as bytes; sometimes with a value nested deeper than Python recurses."""
    if random.randrange(3) == 0:
        return damaged(random, json.dumps(content).encode())
    data = json.dumps(damaged_tree(random, content)).encode("utf-8", "surrogatepass")
    if random.randrange(50) == 0:
        parts = data.split(b": ")
        at = random.randrange(len(parts))
        parts[at : at + 1] = [parts[at], b"[" * 100_000 + b"]" * random.choice((0, 100_000))]
        data = b": ".join(parts)
    return data


def json_like(content: Any) -> Callable[[Random], bytes]:
    """Makes damaged versions of a tree, as JSON."""
    return lambda random: damaged_json(random, content)


def one_of(*ways: Callable[[Random], bytes]) -> Callable[[Random], bytes]:
    """Takes one of several ways to make an input."""
    return lambda random: random.choice(ways)(random)
