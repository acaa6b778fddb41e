"""Study files as slips of the pen, other programs and attackers leave them, from whole ones."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from random import Random

# What stands in place of a value: other types of YAML, its corners, and what is too much.
VALUES = (
    *("2024-02-30", "2024-02-30T25:61:61Z", "12:30:45", "1:2", "=", "<<", "~", "null", "''", '""'),
    *("true", "off", "yes", "3", "-1", "0", "0x1F", "0o17", "0b1", "1_000", "1__0", "007", "+5"),
    *("1e999", "-1e999", "1e-400", ".nan", ".inf", "-.inf", "1e3", "3.5", "1.", ".5", "."),
    *("18446744073709551616", "3000000000", "9" * 400, "9" * 5000, "-" + "9" * 99, "1e308"),
    *("[]", "{}", "[[]]", "[1, a]", "{a: 1}", "{1: 2}", "{? [a] : b}", "{[a]: b}", "{a, b}"),
    *("!!set {a, b}", "!!omap [a: 1]", "!!pairs [a: 1]", "!!binary aGk=", "!!binary '*'"),
    *("!!timestamp 2024-02-30", "!!int x", "!!float a", "!!bool 3", "!!null x", "!!str 3"),
    *("!!python/object:os.system x", "!foo bar", "!<tag:x> y", "!", "! x", "!!", "!!map []"),
    *("&a 1", "*a", "*nothing", "&a [*a]", "&a {b: *a}", "&x", "*", "&", "{<<: [1]}", "{<<: {}}"),
    *('"\\U00110000"', '"\\uD800"', '"\\0"', '"\\x"', '"\\q"', '"\\u12"', "'", '"', "|", ">", "|9"),
    *("- 1", "- - 1", "? a", ": b", "@a", "`a", "%a", "#", "---", "...", "\t", "a: b: c", "{", "["),
    *("{low: 1, high: 2, step: 1e-300}", "{low: 0, high: 0.5, step: 1e-9}", "{low: .nan, high: 1}"),
    *("{low: 1, high: 9999999999}", "{low: 1e-300, high: 1, log: true}", "{low: 1, high: 1}"),
    *("{alexnet: 1, resnet: {low: 1, high: 3}}", "{alexnet: {alexnet: 1}}"),
    *("[1, 1.0]", "[true, 1]"),
    *("grid", "gp", "hyperband", "none", "official", "regression", "multi-label", "nll", "arrays"),
    *("[" * 60, "{a: " * 60, "- " * 60, "[" * 3000, "{" * 3000, "a" * 3000, "é" * 300),
    *("\x85", "\ufeff"),
    *("(?P<a>x{99999999999})", "(" * 300, "(?P<label>a)", "[?P<", "(?P<a>(?P<a>x))"),
)  # fmt: skip
TEXTS = (
    "%YAML 1.1\n---\n",
    "%YAML 9.9\n---\n",
    "%YAML x\n---\n",
    "%TAG ! tag:x\n---\n",
    "%FOO\n---\n",
    "---\n",
    "...\n",
    "\ufeff",
    "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in pairwise("abcdefghi")
    ),
    "a: &a {x: 1}\nb: &b {<<: [*a, *a]}\nc: {<<: [" + "*b, " * 500 + "*b]}\n",
    "".join(f"key{i}: {i}\n" for i in range(700)),
    "  " * 500 + "a: 1\n",
    "".join("  " * i + "a:\n" for i in range(60)),
    "x" * 70_000 + "\n",
    "? " * 500 + "\n",
)  # fmt: skip
_WORD = re.compile(r"[^\s,:\[\]{}]+")


def _at(text: str, rng: Random, put: str) -> str:
    place = rng.randrange(len(text) + 1)
    return text[:place] + put + text[place:]


def _word(text: str, rng: Random) -> str:
    word = rng.choice(list(_WORD.finditer(text)))
    put = rng.choice((rng.choice(VALUES), rng.choice(list(_WORD.findall(text))), ""))
    return text[: word.start()] + put + text[word.end() :]


def _value(text: str, rng: Random) -> str:
    spot = rng.choice(list(re.finditer(r"(?<=: )[^\n#]*", text)))
    return text[: spot.start()] + rng.choice(VALUES) + text[spot.end() :]


def _byte(text: str, rng: Random) -> bytes:
    raw = bytearray(text.encode())
    for _ in range(rng.choice((1, 1, 2, 8))):
        raw[rng.randrange(len(raw))] = rng.choice(
            (rng.randrange(256), ord(rng.choice(" :-[]{}#&*!|>'\"%@\n\t")))
        )
    return bytes(raw)


def _cut(text: str, rng: Random) -> str:
    start, end = sorted(rng.randrange(len(text) + 1) for _ in range(2))
    return rng.choice(
        (text[:end], text[start:], text[:start] + text[end:], text[:end] + text[start:])
    )


def _line(text: str, rng: Random) -> str:
    lines = text.splitlines(keepends=True)
    i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
    way = rng.randrange(4)
    if way == 0:
        lines.insert(j, lines[i])
    elif way == 1:
        lines.insert(j, lines.pop(i))
    elif way == 2:
        lines[i] = rng.choice(("  ", "\t", " ", "    ")) + lines[i]
    else:
        del lines[i]
    return "".join(lines)


def _text(text: str, rng: Random) -> str:
    return rng.choice((_at, lambda t, _, p: p + t, lambda t, _, p: t + p))(
        text, rng, rng.choice(TEXTS)
    )


WAYS: tuple[Callable[[str, Random], str | bytes], ...] = (
    _word, _word, _value, _value, _value, _byte, _cut, _line, _text,
)  # fmt: skip


def mutated(text: str, rng: Random) -> bytes:
    """Return a file with one to three changes in it."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        changed = rng.choice(WAYS)(text, rng)
        if isinstance(changed, bytes):
            return changed
        text = changed or "\n"
        if not _WORD.search(text) or not re.search(r"(?<=: )[^\n#]*", text):
            break
    return text.encode("utf-8", "surrogatepass")
