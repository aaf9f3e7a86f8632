"""The architecture as the imports show it: which part may know of which."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.support.server import ROOT

CORE = [
    {"errors", "assets", "lazy", "stages"},
    {
        "argument_checks",
        "atomic_write",
        "machine",
        "field_docs",
        "rust_panics",
        "deadline",
        "bounded_process",
        "bounded_child",
    },
    {"method"},
    {"texts"},
    {"models"},
    {"pruning"},
    {"evaluation", "inspection", "speed"},
    {"experiments", "export", "generation"},
    {"cli"},
    {"__main__", "__init__"},
]
"""The wings of `wanda_core`, lowest first: none imports one above it or beside it."""
SHARED = [
    {"assets", "limits"},
    {"request_checks"},
    {"cache", "uploads"},
    {"display"},
    {"jobs"},
    {"workspace"},
    {"page"},
    {"recipe"},
]
"""What the views of `components` share, lowest first; every other folder is a view, and `lab` knows them all."""
PAGE = {name for names in SHARED for name in names} | {"lab", "__init__"}

Imports = dict[str, set[str]]


def module_name(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts)


FILES = {
    module_name(file): file for top in ("wanda_core", "components") for file in (ROOT / top).rglob("*.py")
}


def imported(file: Path) -> set[str]:
    """Names of everything that a file imports, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def own(names: set[str]) -> set[str]:
    """The project's modules among names, which may be names in modules."""
    found = set()
    for name in names:
        for module in (name, name.rpartition(".")[0]):
            if module in FILES or f"{module}.__init__" in FILES:
                found.add(module if module in FILES else f"{module}.__init__")
                break
    return found


IMPORTS: Imports = {name: own(imported(file)) for name, file in FILES.items()}


def wing(module: str) -> str:
    return module.split(".")[1]


def circle(imports: Imports) -> list[str]:
    """Names that import each other in a ring; nothing where there is none."""
    done: set[str] = set()

    def look(name: str, path: list[str]) -> list[str]:
        if name in path:
            return path[path.index(name) :]
        if name in done:
            return []
        for other in sorted(imports[name]):
            if ring := look(other, [*path, name]):
                return ring
        done.add(name)
        return []

    return next((ring for name in sorted(imports) if (ring := look(name, []))), [])


def test_no_wing_of_the_engine_imports_one_above_or_beside_it() -> None:
    level = {name: height for height, names in enumerate(CORE) for name in names}
    for module in (name for name in IMPORTS if name.startswith("wanda_core.")):
        assert wing(module) in level, f"{module} has no place in the order of wings"
        for other in IMPORTS[module]:
            if other.startswith("wanda_core.") and wing(other) != wing(module):
                assert level[wing(other)] < level[wing(module)], f"{module} imports {other}"


@pytest.mark.parametrize("foreign", ["components", "gradio", "plotly", "app"])
def test_the_engine_knows_no_page(foreign: str) -> None:
    for module in (name for name in FILES if name.startswith("wanda_core.")):
        tops = {name.partition(".")[0] for name in imported(FILES[module])}
        assert foreign not in tops, f"{module} imports {foreign}"


def test_no_view_imports_another() -> None:
    folders = {file.parent.name for file in (ROOT / "components").glob("*/__init__.py")}
    views = folders - PAGE
    assert len(views) >= 8
    for module in (name for name in IMPORTS if wing(name) in views):
        others = {wing(other) for other in IMPORTS[module] if other.startswith("components.")}
        assert not (others & views) - {wing(module)}, f"{module} imports another view"


def test_what_the_views_share_imports_no_view_and_nothing_above_it() -> None:
    level = {name: height for height, names in enumerate(SHARED) for name in names}
    for module in (name for name in IMPORTS if name.startswith("components.") and wing(name) in level):
        for other in (name for name in IMPORTS[module] if name.startswith("components.")):
            if wing(other) not in (wing(module), "__init__"):
                assert level.get(wing(other), 99) < level[wing(module)], f"{module} imports {other}"


def test_no_circle() -> None:
    assert circle(IMPORTS) == []


def test_a_circle_is_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


@pytest.mark.parametrize(
    "package", [name.removesuffix(".__init__") for name in FILES if name.endswith(".__init__")]
)
def test_a_folder_says_in_a_sentence_what_is_in_it(package: str) -> None:
    tree = ast.parse(FILES[f"{package}.__init__"].read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), f"{package} says nothing"
    if package != "wanda_core":
        assert len(tree.body) == 1, f"{package} does more than say what it is"
