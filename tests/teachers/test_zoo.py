"""Standing in the zoo means being whole: facts that agree with each other, sizes that are the published ones."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from open_clip import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD, CustomTextCLIP
from pydantic import ValidationError
from tiny_zoo import tiny_entry
from transformers import PreTrainedModel

from mmkd.errors import ConfigError, ModelError
from mmkd.teachers.encoders.tokens import CaptionTokenizer, Tokens
from mmkd.teachers.files.layouts import LAYOUTS
from mmkd.teachers.load import ADAPTERS, wired
from mmkd.teachers.zoo.entry import ZooEntry, zoo, zoo_entry

FOLDER = Path(__file__).parents[2] / "src" / "mmkd" / "teachers" / "zoo"
THE_NINE = (
    "bmc-clip",
    "biomedclip",
    "unimed-clip",
    "genmedclip",
    "quiltnet",
    "plip",
    "pmc-clip",
    "pubmedclip",
    "medclip",
)
USABLE = [entry for entry in zoo().values() if entry.status == "usable"]
EVERY_VARIANT = [(entry.name, variant) for entry in USABLE for variant in entry.variant_names or [None]]
META = torch.device("meta")  # whole architectures without their gigabytes


def test_every_file_is_an_entry_under_its_own_name() -> None:
    assert zoo().keys() == {path.stem for path in FOLDER.glob("*.toml")}
    for path in FOLDER.glob("*.toml"):
        written = tomllib.loads(path.read_text())["title"]
        assert zoo()[path.stem].title == written
        assert re.sub("[^a-z0-9]", "", written.lower()).startswith(path.stem.replace("-", ""))
    assert len({entry.title for entry in zoo().values()}) == len(zoo())


def test_the_nine_and_more_can_be_used() -> None:
    usable = {entry.name for entry in USABLE}
    assert usable >= set(THE_NINE)
    assert len(usable) >= 14
    statuses = [entry.status for entry in zoo().values()]
    assert statuses == sorted(statuses, key=["usable", "refused", "unsupported"].index)


def test_the_public_vectors_have_one_entry_each() -> None:
    """The eight keys of the reference's records; of MedCLIP it has none."""
    keys = [entry.reference for entry in USABLE if entry.reference]
    known = {"BMCA", "BiomedCLIP", "UniMedCLIP", "GenMedClip", "QuiltNet", "PLIP", "PUBMEDCLIP", "PMCCLIP"}
    assert sorted(keys) == sorted(known)


@pytest.mark.parametrize("entry", USABLE, ids=lambda entry: entry.name)
def test_a_usable_entry_says_what_a_user_must_know(entry: ZooEntry) -> None:
    for fact in ("title", "paper", "modalities", "overlaps", "licence", "preparation"):
        assert getattr(entry, fact), fact
    assert entry.adapter in ADAPTERS
    assert entry.layout in LAYOUTS
    assert entry.needs or entry.gated != "yes"
    for variant in entry.variant_names or [None]:
        weights = entry.variant(variant).weights
        assert weights is not None
        assert bool(weights.repo) != bool(weights.url)
        assert weights.revision == "main" or re.fullmatch("[0-9a-f]{40}", weights.revision)
        assert weights.files
        assert all(weights.files)
        assert weights.repo or entry.needs  # what no hub has must be fetched by hand


@pytest.mark.parametrize("name", ["conch", "musk"])
def test_terms_that_forbid_distilling_are_quoted(name: str) -> None:
    assert zoo()[name].status == "refused"
    with pytest.raises(ModelError, match=rf"'{name}' is refused: .*trained on its outputs.*derivatives.*hf\.co/"):
        zoo_entry(name)


@pytest.mark.parametrize(("name", "variant"), EVERY_VARIANT)
def test_the_whole_architecture_gives_the_dimension_of_its_entry(name: str, variant: str | None) -> None:
    entry = zoo_entry(name, variant)
    context, side = int(entry.context_length or 0), entry.preprocess["size"]
    with META:
        network = ADAPTERS[str(entry.adapter)].build(entry).eval()
        words = CaptionTokenizer(lambda captions: Tokens(torch.empty(0), torch.empty(0)), "", "full")
        towers = wired(entry, network, words)
        assert towers.encode_image(torch.empty(2, 3, *side)).shape == (2, entry.dim)
        for part in network.modules():
            if isinstance(part, PreTrainedModel):
                part.set_attn_implementation("eager")  # the default looks into the mask, which has no values here
        if isinstance(network, CustomTextCLIP):  # its BERT looks into the mask all the same
            assert network.text.proj[-1].out_features == entry.dim
            assert network.text.config.max_position_embeddings >= context
        else:
            ids, length = torch.zeros(2, context, dtype=torch.int64), torch.full((2,), context)
            assert towers.encode_text(ids, length).shape == (2, entry.dim)


# what no shape tells, as research states it: read off publications, not off the entries
QUICK_GELU = {"unimed-clip", "mmkd-clip", "pubmedclip", "chexzero", "plip", "monet"}
OWN_PIXELS = {  # mean and deviation of the first channel; all others have OpenAI's
    "monet": (0.485, 0.229),
    "medsiglip": (0.5, 0.5),
    "chexzero": (101.48761 / 255, 83.43944 / 255),
    "medclip": (0.5862785803043838, 0.27950088968644304),
}
PADDING = {"pmc-clip": "full", "medsiglip": "full", "medclip": "none"}


@pytest.mark.parametrize("entry", USABLE, ids=lambda entry: entry.name)
def test_facts_that_load_silently_are_those_of_the_publications(entry: ZooEntry) -> None:
    with META:
        activations = {type(part).__name__ for part in _image_tower(entry).modules()}
    assert bool(activations & {"QuickGELU", "QuickGELUActivation"}) == (entry.name in QUICK_GELU)
    mean, std = entry.preprocess["mean"], entry.preprocess["std"]
    if entry.name in OWN_PIXELS:
        assert (mean[0], std[0]) == pytest.approx(OWN_PIXELS[entry.name], abs=1e-7)
    else:
        assert (tuple(mean), tuple(std)) == (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD)
    assert entry.padding == PADDING.get(entry.name, "longest")


def _image_tower(entry: ZooEntry) -> torch.nn.Module:
    network = ADAPTERS[str(entry.adapter)].build(entry)
    return next(getattr(network, name) for name in ("visual", "vision_model") if hasattr(network, name))


# tensors and megabytes in single precision of published files: read off the files' listings, or off their libraries
SIZES = {
    ("biomedclip", None): (351, 783.6),
    ("genmedclip", "b-16-pmb"): (352, 783.6),
    ("bmc-clip", None): (446, 1710.5),
    ("plip", None): (398, 605.1),
    ("pubmedclip", "vit32"): (302, 605.1),
}


@pytest.mark.parametrize(("key", "size"), SIZES.items())
def test_the_whole_architecture_has_the_published_size(key: tuple[str, str | None], size: tuple[int, float]) -> None:
    entry = zoo_entry(*key)
    with META:
        weights = ADAPTERS[str(entry.adapter)].build(entry).state_dict()
    found = len(weights), round(4 * sum(value.numel() for value in weights.values()) / 1e6, 1)
    assert found == size


def test_names_and_variants_that_are_none_are_answered_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="no teacher 'quilnet' in the zoo; did you mean 'quiltnet'"):
        zoo_entry("quilnet")
    with pytest.raises(ConfigError, match=r"no variant 'b-8'; it has b-16, .*b-16-pmb"):
        zoo_entry("quiltnet", "b-8")
    with pytest.raises(ConfigError, match="'biomedclip' has no variant 'large'; it has none"):
        zoo_entry("biomedclip", "large")


def test_a_variant_is_laid_over_its_entry_table_by_table() -> None:
    entry = tiny_entry(text={"repo": "lab/words", "files": [["vocab.txt"]]})
    facts = {
        "set": {"config": {"vision_cfg": {"layers": 3}}, "weights": {"revision": "b" * 40}},
        "without": ["text"],
        "reason": "deeper",
    }
    deeper = tiny_entry(text=entry.text.model_dump(), variants={"deep": facts}).variant("deep")  # type: ignore[union-attr]
    assert deeper.config == {
        **entry.config,
        "vision_cfg": {**entry.config["vision_cfg"], "layers": 3},
    }
    assert deeper.weights == entry.weights.model_copy(update={"revision": "b" * 40})  # type: ignore[union-attr]
    assert deeper.text is None
    assert deeper.variants == {}
    assert tiny_entry().variant("plain") == tiny_entry()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"status": "refused"}, "a refused entry needs its reason"),
        ({"weights": None, "dim": None}, "a usable entry needs weights, dim"),
        ({"default_reason": ""}, "variants need the default's name"),
        ({"default": "quick"}, "the default's name, which is none of them"),
        ({"variants": {}}, "variants need the default's name"),
        ({"variants": {"a": {"reason": "", "without": ["colour"]}}}, "to be without colour, which no entry has"),
        ({"padding": "left"}, "padding"),
        ({"lisence": "MIT"}, "lisence"),
        ({"name": "Tiny CLIP"}, "name"),
    ],
)
def test_an_entry_that_contradicts_itself_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        tiny_entry(**changes)
