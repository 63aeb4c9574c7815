"""An ablation: a recipe, and variants of it that differ in the keys they name; one checked recipe for each run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from mmkd.errors import ConfigError
from mmkd.pipeline.recipe import Recipe, load_recipe
from mmkd.renamed import warn, with_new_names
from mmkd.settings import Name, RecipePath, Settings, overlaid
from mmkd.validation import nearest, parse, read_toml

DEFAULT = "default"
OWN_KEYS = ("about", "x", "line", "against")
ABSENT = object()


class Variant(Settings):
    """A table `[variants.NAME]`: keys of the recipe, and what tables and figures need to know.

    changes: the keys of the recipe, as tables. about: a sentence. line, x: the curve that it is a point of, and where.
    against: the variant that its difference is taken to.
    """

    changes: dict[str, Any] = {}
    about: str = ""
    x: float | None = None
    line: str = ""
    against: str = DEFAULT

    @model_validator(mode="before")
    @classmethod
    def _split(cls, table: Any) -> Any:
        """Whatever is no key of its own is the recipe's."""
        if not isinstance(table, Mapping) or "changes" in table:
            return table
        own = {key: value for key, value in table.items() if key in OWN_KEYS}
        return {**own, "changes": {key: value for key, value in table.items() if key not in OWN_KEYS}}

    @model_validator(mode="after")
    def _a_point_of_a_line(self) -> "Variant":
        if (self.x is None) != (not self.line):
            raise ValueError("x and line belong together: where on which curve this variant lies")
        return self


class Ablation(Settings):
    """A file `ablations/*.toml`. about: a sentence. common: keys of the recipe that hold for all variants.

    axis: what `x` means. seeds: each one is a world, teachers and students of its own.
    """

    about: str = ""
    recipe: RecipePath
    seeds: list[int] = Field([0, 1, 2], min_length=1)
    axis: str = "x"
    common: dict[str, Any] = {}
    variants: dict[Name, Variant] = {}

    @model_validator(mode="after")
    def _references(self) -> "Ablation":
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds: {self.seeds} has one twice")
        names = [DEFAULT, *self.variants]
        for name, variant in self.variants.items():
            if name == DEFAULT and variant.changes:
                raise ValueError(f"variants.default: it is the recipe with [common]; found {sorted(variant.changes)}")
            if variant.against not in names:
                raise ValueError(
                    f"variants.{name}.against: no variant {variant.against!r}; {nearest(variant.against, names)}"
                )
        return self

    @property
    def all_variants(self) -> dict[str, Variant]:
        """With the default, first."""
        return {DEFAULT: self.variants.get(DEFAULT, Variant()), **self.variants}


def load_ablation(path: Path) -> Ablation:
    """Read and check an ablation's own file; its recipes are checked by `variants.recipes_of`.

    Raises ConfigError that lists every problem, also names that could be no folder.
    """
    return parse(Ablation, _with_new_names(read_toml(path)), str(path), {"base": path.resolve().parent})


def _with_new_names(data: dict[str, Any]) -> dict[str, Any]:
    found = dict(data)
    if isinstance(data.get("common"), Mapping):
        found["common"] = with_new_names(data["common"], say=warn)
    if isinstance(data.get("variants"), Mapping):
        found["variants"] = {name: with_new_names(table, say=warn) for name, table in data["variants"].items()}
    return found


def recipe_of(ablation: Ablation, name: str, seed: int, out: Path) -> Recipe:
    """The recipe of one run, without rivals. Raises ConfigError that names the variant."""
    changes = overlaid(ablation.common, ablation.all_variants[name].changes)
    try:
        recipe = load_recipe(ablation.recipe, out, over={**changes, "seed": seed})
    except ConfigError as error:
        raise ConfigError(f"variant {name!r}: {error}") from error
    return recipe.model_copy(update={"rivals": {}})


def check_variants(ablation: Ablation, out: Path) -> None:
    """Raise ConfigError unless every variant differs from the default in exactly the keys that it names."""
    default = flat(recipe_of(ablation, DEFAULT, ablation.seeds[0], out).model_dump(mode="json"))
    problems = []
    for name, variant in ablation.variants.items():
        recipe = flat(recipe_of(ablation, name, ablation.seeds[0], out).model_dump(mode="json"))
        problems += [f"variant {name!r}: {problem}" for problem in complaints(default, recipe, flat(variant.changes))]
        if not variant.changes and name != DEFAULT:
            problems.append(f"variant {name!r}: names no key of the recipe, so it is the default")
    if "seed" in ablation.common or any("seed" in variant.changes for variant in ablation.variants.values()):
        problems.append("seed is not for variants or [common]; the list `seeds` says which")
    if problems:
        raise ConfigError("\n".join(problems))


def complaints(default: Mapping[str, Any], variant: Mapping[str, Any], named: Mapping[str, Any]) -> list[str]:
    """What is wrong with the keys (all flat): named ones that change nothing, and changed ones that are not named."""
    changed = {
        key for key in {*default, *variant} if default.get(key, ABSENT) != variant.get(key, ABSENT)
    }  # fmt: skip
    idle = sorted(key for key in named if not any(_covers(key, other) for other in changed))
    silent = sorted(key for key in changed if not any(_covers(other, key) for other in named))
    return [f"{key} is what the default has already; take it out" for key in idle] + [
        f"it also changes {key}, which it does not name" for key in silent
    ]


def flat(table: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Tables as dotted keys; lists are values. An empty table is a value too."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{before}{key}.")
        else:
            found[f"{before}{key}"] = value
    return found


def _covers(key: str, inner: str) -> bool:
    """Whether `inner` is the key, or stands in the table that the key is where the other recipe has none."""
    return inner == key or inner.startswith(f"{key}.") or key.startswith(f"{inner}.")
