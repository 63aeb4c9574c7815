"""`mmkd curate URL`: the plainest recipe for files by URL, written beside their corpus."""

import re
from pathlib import Path

from mmkd.commands.init import safe_name, write_recipe
from mmkd.errors import ConfigError
from mmkd.folders.remote import Urls, without_secrets


def recipe_of(url: str, out: Path | None) -> Path:
    """The recipe for the URL, in the folder of its run: the one that is there, as edited since, or a new one.

    Raises ConfigError for a URL with secrets, of no known kind, or where the folder has another recipe of that name.
    """
    from mmkd.curation.settings.sources import WebDatasetSource
    from mmkd.curation.sources.names import name_of
    from mmkd.progress import say

    shown = without_secrets(url)
    if shown != url:
        raise ConfigError(
            f"{shown}: the URL has a user, a query or a fragment, which may be secret and is not written into a "
            "recipe; give credentials in the environment and the URL without it, or write a recipe that takes the URL "
            'from a variable of the environment: path = "${VARIABLE}"'
        )
    name = safe_name(name_of(WebDatasetSource(kind="webdataset", path=Urls((url,)))))
    recipe = (out or Path("runs") / name) / f"{name}.toml"
    if recipe.is_file():
        if url not in re.findall("[\"'](.*?)[\"']", recipe.read_text()):
            raise ConfigError(f"{recipe} is there and does not read {url}; choose another folder: --out DIR")
        say(f"recipe: {recipe}, which is there already")
        return recipe
    kind = kind_of(url)
    recipe.parent.mkdir(parents=True, exist_ok=True)
    write_recipe(recipe, "curate", kind, url)
    say(f"recipe: {recipe}, written for a source of the kind {kind}; change it for other columns and filters")
    return recipe


def kind_of(url: str) -> str:
    """ "webdataset" or "table", by the ending of the URL, else by what its server lists.

    Raises ConfigError where both or none are found."""
    from mmkd.curation.sources.tables import SEARCHED
    from mmkd.curation.sources.webdataset import TAR_SUFFIXES
    from mmkd.tables.formats import SUFFIXES

    for kind, endings in (("webdataset", TAR_SUFFIXES), ("table", SUFFIXES)):
        if url.lower().endswith(endings):
            return kind
    names = [name for name, _ in Urls((url,)).files((), (*TAR_SUFFIXES, *SEARCHED))]
    tars = sum(name.lower().endswith(TAR_SUFFIXES) for name in names)
    if 0 < tars < len(names):
        raise ConfigError(
            f"{url}: found {tars:,} tars and {len(names) - tars:,} tables, expected one of the two; name those "
            f"that have the pairs by a folder or a pattern, such as '{url.rstrip('/')}/**/*.tar'"
        )
    return "webdataset" if tars else "table"
