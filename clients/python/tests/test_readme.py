"""Runs the examples of README.md against a broker and a provider of this process."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

import authmaterial

README = (Path(__file__).parent.parent / "README.md").read_text()


def example(library, broker, provider):
    code = next(
        block
        for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL)
        if f"import {library}\n" in block
    )
    names = {}
    old = re.search(r"authmaterial\.Client\(.*\)", code).group()
    code = code.replace(old, f"authmaterial.Client({broker.address!r}, plaintext=True)")
    code = code.replace("https://app.pendo.io", f"http://{provider.host}")
    exec(code, names)
    return names


@pytest.mark.parametrize("library", ["httpx", "requests", "aiohttp"])
def test_examples(library, broker, provider):
    names = example(library, broker, provider)
    text = asyncio.run(names["features"]()) if library == "aiohttp" else names["response"].text
    names["broker"].close()
    for name in ("http", "session"):
        if name in names:
            names[name].close()
    assert text == "Bearer pendo-v1"


def test_example_of_errors(capsys):
    class Denied:
        def get(self, url):
            raise authmaterial.Error("no", reason="ACCESS_DENIED", credential_id="pendo")

    code = README.split("## Errors")[1].split("```python\n")[1].split("```")[0]
    exec(code, {"authmaterial": authmaterial, "http": Denied()})
    assert capsys.readouterr().out == "ask for a grant for pendo\n"
