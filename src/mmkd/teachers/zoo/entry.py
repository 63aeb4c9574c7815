"""The zoo: one TOML file of facts per public teacher. Behaviour stands in the adapters, facts stand here only."""

import tomllib
from functools import cache
from importlib import resources
from typing import Any, Literal

from pydantic import Field, model_validator

from mmkd.errors import ConfigError, ModelError
from mmkd.settings import Settings, overlaid
from mmkd.validation import nearest, parse

Adapter = Literal["open_clip", "transformers", "pmc_clip", "medclip"]


class Source(Settings):
    """Where files are published.

    repo, repo_type, revision: on the Hugging Face hub; a revision that is a commit is a pin. url: of what is published
    elsewhere and must be fetched by hand. files: sets of file names, any one of which is enough, the preferred first.
    """

    repo: str = ""
    repo_type: Literal["model", "dataset"] = "model"
    revision: str = "main"
    url: str = ""
    files: list[list[str]]


class Variant(Settings):
    """Another published form of the same teacher, or another reading of it.

    set: what it lays over the entry, tables key by key. without: keys of the entry that are as if it never had them,
    for a form that has no tokenizer of its own, say, or whose `config` shares nothing with the entry's.
    """

    reason: str
    without: list[str] = []
    set: dict[str, Any] = {}


class ZooEntry(Settings):
    """What is known of a teacher.

    status: `usable`, `refused` (its terms forbid it: reason quotes the clause) or `unsupported` (reason says why).
    use: what the licence of the weights allows, `unclear` where nobody has granted anything. config: of the network, in
    the words of the adapter's library; `architecture` names a built-in open_clip one that config is laid over. bert:
    where its BERT differs from BERT-base. layout: how its keys are named (`teachers.files.layouts`). preprocess: as in
    open_clip's `preprocess_cfg`. padding: what the text tower makes of padding (`encoders.tokens`). text: where
    the tokenizer is from, None for CLIP's own. cls_id: number of [CLS] in a BERT's vocabulary, by which it is told from
    others of the same size. reference: its name in the public MMKD-CLIP data.
    needs: what a user must have or do. unverified: statements above that no source confirms.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    title: str
    status: Literal["usable", "refused", "unsupported"] = "usable"
    reason: str = ""
    paper: str
    modalities: list[str]
    licence: str
    use: Literal["commercial", "noncommercial", "unclear"]
    gated: Literal["no", "yes", "unknown"] = "no"
    needs: list[str] = []
    overlaps: list[str] = []
    reference: str = ""
    adapter: Adapter | None = None
    weights: Source | None = None
    text: Source | None = None
    cls_id: int | None = None
    dim: int | None = None
    context_length: int | None = None
    architecture: str = ""
    config: dict[str, Any] = {}
    bert: dict[str, Any] = {}
    layout: str = "plain"
    preprocess: dict[str, Any] = {}
    padding: Literal["longest", "full", "none"] = "longest"
    preparation: str = ""
    default: str = ""
    default_reason: str = ""
    variants: dict[str, Variant] = {}
    notes: list[str] = []
    unverified: list[str] = []

    @model_validator(mode="after")
    def _complete(self) -> "ZooEntry":
        if self.status != "usable":
            if not self.reason:
                raise ValueError(f"{self.name}: a {self.status} entry needs its reason")
            return self
        missing = [
            key for key in ("adapter", "weights", "dim", "context_length", "preprocess") if not getattr(self, key)
        ]
        if missing:
            raise ValueError(f"{self.name}: a usable entry needs {', '.join(missing)}")
        if bool(self.variants) != bool(self.default and self.default_reason) or self.default in self.variants:
            raise ValueError(f"{self.name}: variants need the default's name, which is none of them, and its reason")
        unknown = sorted(
            {key for variant in self.variants.values() for key in variant.without} - type(self).model_fields.keys()
        )
        if unknown:
            raise ValueError(f"{self.name}: a variant is to be without {', '.join(unknown)}, which no entry has")
        return self

    @property
    def variant_names(self) -> list[str]:
        """The default first; empty where there is only one form."""
        return [self.default, *self.variants] if self.variants else []

    def variant(self, name: str | None) -> "ZooEntry":
        """The entry as a variant of it is; without a name, the default. Raises ConfigError for unknown names."""
        if name is None or name == self.default:
            return self
        if name not in self.variants:
            known = ", ".join(self.variant_names) or "none"
            raise ConfigError(f"teacher {self.name!r} has no variant {name!r}; it has {known}")
        forgotten = {"variants", "default", "default_reason", *self.variants[name].without}
        data = overlaid(self.model_dump(exclude=forgotten), self.variants[name].set)
        return parse(ZooEntry, data, f"zoo entry {self.name}, variant {name}")


def zoo() -> dict[str, ZooEntry]:
    """Every entry by its name, usable ones first, each group in alphabetical order."""
    found = [_read(path.name) for path in resources.files("mmkd.teachers.zoo").iterdir() if path.name.endswith(".toml")]
    rank = {"usable": 0, "refused": 1, "unsupported": 2}
    return {entry.name: entry for entry in sorted(found, key=lambda entry: (rank[entry.status], entry.name))}


def zoo_entry(name: str, variant: str | None = None) -> ZooEntry:
    """A usable entry. Raises ConfigError for an unknown name or variant; ModelError for a refused one."""
    entries = zoo()
    if name not in entries:
        raise ConfigError(f"no teacher {name!r} in the zoo; {nearest(name, list(entries))}")
    entry = entries[name]
    if entry.status != "usable":
        raise ModelError(f"teacher {name!r} is {entry.status}: {entry.reason}")
    return entry.variant(variant)


@cache
def _read(file: str) -> ZooEntry:
    text = resources.files("mmkd.teachers.zoo").joinpath(file).read_text(encoding="utf-8")
    return parse(ZooEntry, {"name": file.removesuffix(".toml"), **tomllib.loads(text)}, f"zoo/{file}")
