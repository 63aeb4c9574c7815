"""An ablation: a recipe, and variants of it that differ in the keys they name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from mmkd.renamed import warn, with_new_names
from mmkd.settings import Name, RecipePath, Settings
from mmkd.validation import nearest, parse, read_toml

DEFAULT = "default"
OWN_KEYS = ("about", "x", "line", "against")


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
    """With today's keys of the recipe in `[common]` and in the variants."""
    found = dict(data)
    if isinstance(data.get("common"), Mapping):
        found["common"] = with_new_names(data["common"], say=warn)
    if isinstance(data.get("variants"), Mapping):
        found["variants"] = {name: with_new_names(table, say=warn) for name, table in data["variants"].items()}
    return found
