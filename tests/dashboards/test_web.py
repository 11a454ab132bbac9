"""What pages name: every file is there, and what a module needs is fetched with it."""

import re
from html import unescape

import pytest
from plotly.offline import get_plotlyjs

from dashboards.web import PLOTLY, asset_url, assets, eager, imported, module

SCRIPTS = sorted(name for name in assets() if name.endswith(".js") and not name.endswith(".min.js"))


def test_what_a_module_needs() -> None:
    """As a reader of the files finds it: of api.js nothing, of again.js that one, of front.js all its parts."""
    assert imported("api.js") == ()
    assert imported("again.js") == ("api.js",)
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


WRAPPED = """/* plotly */
(function(root, make) { make(); } (typeof self !== "undefined" ? self : this, () => {
1;
return Plotly;
}));"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (WRAPPED, WRAPPED.replace("this, () =>", "this, (() =>").replace("}));", "})));")),
        (WRAPPED + "\n\n", WRAPPED.replace("this, () =>", "this, (() =>").replace("}));", "})));")),
        (WRAPPED.replace("() => {\n1", "function() {\n1"), None),
        (WRAPPED + "more();", None),
        (WRAPPED.replace("1;", "f(this, () => {\n})"), None),
        ("", None),
    ],
)
def test_a_function_that_is_called_at_once_says_so(text: str, expected: str | None) -> None:
    assert eager(text.encode()).decode() == (text if expected is None else expected)


def test_plotly_is_the_package_s_own_but_for_two_signs() -> None:
    own, shown = get_plotlyjs().rstrip(), assets()[PLOTLY].content.decode()
    assert len(shown) == len(own) + 2 and shown.replace("this, (() => {", "this, () => {", 1)[:-4] + "));" == own


def test_what_is_not_there_is_refused() -> None:
    with pytest.raises(KeyError):
        module("other.js")
