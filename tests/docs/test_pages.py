"""The pages hold what they promise: generated ones are fresh, links lead somewhere, commands and recipes are known."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from doc_pages import PAGES, ROOT, arguments_of, blocks, complaint, inline_commands
from generated import stale
from keys import nested, unexplained

import mmkd
from mmkd.cards.card import Card
from mmkd.pipeline.recipe import Recipe
from mmkd.renamed import RENAMED
from mmkd.settings import overlaid
from mmkd.validation import parse

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
MOST_WORDS = 900
SOURCE = ROOT / "src" / "mmkd"
PACKAGES = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
MINIMAL = {
    "name": "minimal",
    "teachers": ["plip", "quiltnet"],
    "curate": {"sources": [{"kind": "table", "path": "pairs.csv"}]},
    "student": {"model": "ViT-B-16"},
    "evaluate": {"cards": ["card.toml"]},
}
TOML = [block for block in blocks("toml")]
SHELL = [block for block in blocks("sh", "bash", "console", "")]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def test_generated_pages_are_what_the_code_says_today() -> None:
    """When this fails: `make docs-pages`."""
    assert not stale()


def test_all_that_python_offers_is_explained() -> None:
    text = (ROOT / "docs/reference/api.md").read_text()
    offered = set(re.findall(r"^## mmkd\.(\w+)", text, re.MULTILINE))
    assert offered == set(mmkd.__all__)
    sections = re.split(r"^#{2,3} ", text, flags=re.MULTILINE)[1:]
    assert not [section.splitlines()[0] for section in sections if len(re.sub(r"```.*?```", "", section).split()) < 5]


@pytest.mark.parametrize("kind", [Recipe, Card], ids=["recipe", "card"])
def test_every_key_has_a_meaning(kind: type[Any]) -> None:
    """It stands in the docstring of the settings class, as `key: meaning.`"""
    lacking = {found.__name__: unexplained(found) for _, found in nested(kind, "[]") if unexplained(found)}
    assert not lacking


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_to_files(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        if not target.startswith(("http", "#")):
            assert (page.parent / target.split("#")[0]).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_in_the_text_are_known(page: Path) -> None:
    for line in inline_commands(page):
        assert not complaint(arguments_of(line) or []), line


@pytest.mark.parametrize("block", SHELL, ids=lambda block: f"{name_of(block.page)}: {block.lines[0][:40]}")
def test_commands_in_blocks_are_known(block: Any) -> None:
    """Also of those that are not run: every option of a command is one that `--help` shows."""
    for line in block.lines:
        arguments = arguments_of(line)
        if arguments is not None:
            assert not complaint(arguments), line
        elif line.startswith("make "):
            assert re.search(rf"^{line.split()[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), line


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_scripts_and_tests_that_are_named_exist(page: Path) -> None:
    text = page.read_text()
    for path in re.findall(r"(?:python|pytest) ((?:bench|tests|docs)/[\w/.*]+)", text):
        assert list(ROOT.glob(path)), path


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_of_the_source_that_are_named_exist(page: Path) -> None:
    for path in re.findall(r"`((?:src/mmkd/)?[a-z_]+/[\w/]+(?:\.py|\.toml|/))`", page.read_text()):
        if path.split("/")[0] in PACKAGES or path.startswith(("src/", "tests/", "docs/", "recipes/")):
            assert any((base / path).exists() for base in (ROOT, SOURCE)), path


@pytest.mark.parametrize("block", TOML, ids=lambda block: f"{name_of(block.page)}: {block.text[:30]!r}")
def test_recipes_and_cards_are_valid(block: Any, tmp_path: Path) -> None:
    data = tomllib.loads(block.text)
    if "layout" in data:
        assert parse(Card, data, name_of(block.page), {"base": tmp_path}).id
    else:
        assert parse(Recipe, overlaid(MINIMAL, data), name_of(block.page), {"base": tmp_path}).name


def test_the_readme_is_short() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.split()) <= MOST_WORDS


def test_every_page_of_the_site_is_in_its_menu() -> None:
    menu = (ROOT / "mkdocs.yml").read_text()
    for page in (ROOT / "docs").rglob("*.md"):
        assert str(page.relative_to(ROOT / "docs")) in menu


@pytest.mark.parametrize(("old", "new"), [(key, new) for (table, key), new in RENAMED.items() if table != "inputs"])
def test_renamed_keys_stand_in_the_changelog(old: str, new: str) -> None:
    lines = (ROOT / "CHANGELOG.md").read_text().splitlines()
    assert any({old, new} <= set(re.findall(r"\w+", line)) for line in lines if line.startswith("|"))
