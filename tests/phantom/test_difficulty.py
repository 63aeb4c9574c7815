"""Harder worlds: the default difficulty changes no bit, grades lie where they say, captions are swapped for good."""

from pathlib import Path

import numpy as np
import pytest

from mmkd.errors import ConfigError
from mmkd.phantom.primitives import Canvas
from mmkd.phantom.sampling import TRAITS, World, draw_pixels, draw_sample
from mmkd.phantom.settings import PhantomPairs, PhantomSettings, PhantomTokenizer
from mmkd.phantom.table import DEFAULT, GRADES, MODALITIES, Difficulty, Finding, contradicted, modality_in
from mmkd.phantom.write import write_world
from mmkd.settings import Machine

GRADED = Difficulty("graded")


def canvas(seed: int = 0) -> Canvas:
    rng = np.random.default_rng(seed)
    return Canvas(32, rng, rng.uniform(-1, 1, TRAITS).astype(np.float32))


@pytest.mark.parametrize("name", MODALITIES)
def test_the_default_difficulty_is_the_table_itself(name: str) -> None:
    assert modality_in(name, DEFAULT) == MODALITIES[name]  # the functions too: no image of an old recipe changes
    assert PhantomSettings(pairs={}).model_dump(include={"findings", "contrast", "noise"}) == vars(DEFAULT)


@pytest.mark.parametrize("name", MODALITIES)
def test_a_graded_modality_has_eight_findings_in_distinct_words(name: str) -> None:
    modality = modality_in(name, GRADED)
    wordings = [wording for finding in modality.findings for wording in finding.names]
    assert len(modality.findings) == 8
    assert len(set(wordings)) == len(wordings)
    for finding in modality.findings:
        common = set.intersection(*(set(wording.split()) for wording in finding.names))
        elsewhere = {word for other in modality.findings if other != finding for w in other.names for word in w.split()}
        assert not common - elsewhere  # no word identifies a finding


def test_an_early_finding_is_half_way_to_the_advanced_one_and_contrast_scales_all() -> None:
    first, second = MODALITIES["ct"].findings[:2]
    early, advanced = modality_in("ct", GRADED).findings[1:3]
    assert advanced.draw is second.draw
    drawn = canvas()
    plain = first.draw(drawn)
    other = second.draw(drawn)
    half, low = early.draw(canvas()), modality_in("ct", Difficulty("four", 0.25)).findings[1].draw(canvas())
    np.testing.assert_allclose(half, plain + 0.5 * (other - plain), atol=1e-6)
    np.testing.assert_allclose(low, plain + 0.25 * (other - plain), atol=1e-6)
    assert list(GRADES) == [0.5, 1.0]


def test_noise_is_a_factor() -> None:
    flat = Finding(("flat",), lambda drawn: drawn.wash((0.5, 0.5, 0.5)))

    def deviation(factor: float) -> float:
        return float(
            draw_pixels(flat, 64, np.random.default_rng(0), np.zeros(TRAITS, np.float32), factor)[..., 0].std()
        )

    assert deviation(0.0) == 0.0
    assert deviation(2.0) == pytest.approx(2 * deviation(1.0), rel=0.05)


@pytest.mark.parametrize("difficulty", [DEFAULT, GRADED])
def test_a_contradicted_finding_is_always_another_one(difficulty: Difficulty) -> None:
    for name in MODALITIES:
        modality = modality_in(name, difficulty)
        wrong = [contradicted(modality, finding) for finding in modality.findings]
        assert all(one is not other for one, other in zip(wrong, modality.findings, strict=True))
        assert {id(one) for one in wrong} == {id(one) for one in modality.findings}  # a permutation


def test_swapped_captions_are_wrong_in_these_modalities_alone_and_images_stay() -> None:
    honest, swapped = (World(("ct", "mri"), 0, "one", 0.0, 32, names) for names in ((), ("ct",)))
    for index in range(40):
        one, other = draw_sample(honest, index), draw_sample(swapped, index)
        assert (one.pixels == other.pixels).all()
        assert one.caption_is_right
        assert other.caption_is_right == (other.modality == "mri")


def test_a_world_is_written_by_its_settings(tmp_path: Path) -> None:
    pairs = {
        "one": PhantomPairs(modalities=["ct"], count=3, swapped=["ct"]),
        "two": PhantomPairs(modalities=["oct"], count=3),
    }
    tokenizers = {"of_two": PhantomTokenizer(vocab_size=300, pairs=["two"])}
    settings = PhantomSettings(findings="graded", pairs=pairs, tokenizers=tokenizers, per_class=1, retrieval=2)
    write_world(settings, tmp_path, Machine(workers=0), 0)
    assert len(list((tmp_path / "classify" / "ct" / "test").iterdir())) == 8
    world = World(("ct",), 0, "one", 0.0, 32, ("ct",), GRADED)
    assert draw_sample(world, 0).caption in (tmp_path / "pairs" / "one" / "pairs.csv").read_text()
    write_world(settings.model_copy(update={"pairs": {"two": pairs["two"]}}), tmp_path / "alone", Machine(workers=0), 0)
    vocabularies = [folder / "tokenizers" / "of_two" / "tokenizer.json" for folder in (tmp_path, tmp_path / "alone")]
    assert vocabularies[0].read_bytes() == vocabularies[1].read_bytes()  # other pairs do not touch it


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokenizers": {"t": PhantomTokenizer(pairs=["tow"])}}, r"tokenizers.t\]: no pairs \['tow'\]"),
        ({"pairs": {"two": PhantomPairs(modalities=["ct"], count=1, swapped=["cat"])}}, r"no modality 'cat'"),
    ],
)
def test_names_that_are_not_there_are_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    settings = PhantomSettings(pairs={"two": PhantomPairs(modalities=["ct"], count=1)}, per_class=1, retrieval=1)
    with pytest.raises(ConfigError, match=message):
        write_world(settings.model_copy(update=change), tmp_path, Machine(workers=0), 0)
