"""From an ablation to one checked recipe for each variant, seed and folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmkd.ablate.settings import DEFAULT, Ablation
from mmkd.errors import ConfigError
from mmkd.pipeline.recipe import Recipe, load_recipe
from mmkd.settings import overlaid

ABSENT = object()


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
