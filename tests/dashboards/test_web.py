"""What pages name: every file is there, and what a module needs is fetched with it."""

import re
from html import unescape

import pytest

from dashboards.web import asset_url, assets, imported, module

SCRIPTS = sorted(name for name in assets() if name.endswith(".js") and not name.endswith(".min.js"))


def test_what_a_module_needs() -> None:
    """As a reader of the files finds it: of api.js nothing, of columns.js that one, of front.js all its parts."""
    assert imported("api.js") == ()
    assert imported("columns.js") == ("api.js",)
    assert {"figure.js", "scene.js", "pareto.js", "units.js", "api.js"} <= set(imported("front.js"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_each_needs_what_its_lines_name(name: str) -> None:
    """All that stands after ``from`` or ``import``, whatever the line looks like, is among them, and is there."""
    text = re.sub(r"/\*\*.*?\*/|^\s*//.*?$", "", assets()[name].content.decode(), flags=re.S | re.M)
    named = set(re.findall(r"""["']\./([^"']+)["']""", text))
    found = imported(name)
    assert named <= set(found) <= set(assets()) and name not in found and len(found) == len(set(found))
    assert set(found) == named.union(*(imported(own) for own in named)) - {name}


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_comes_after_what_it_needs(name: str) -> None:
    addresses = re.findall(r'(?:href|src)="([^"]+)"', unescape(module(name)))
    assert addresses == [*map(asset_url, imported(name)), asset_url(name)]
    assert module(name).count("<script") == 1 and module(name).endswith("</script>")


def test_what_is_not_there_is_refused() -> None:
    with pytest.raises(KeyError):
        module("other.js")
