"""The tables of terms, weightings and objectives: every entry has its code, and a recipe cannot name anything else."""

import inspect

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from mmkd.training.data.view import StepWeighting, TeacherInputs, View
from mmkd.training.settings import tables
from mmkd.training.settings.distill import DistillSettings
from mmkd.training.settings.tables import OBJECTIVES, TERMS, WEIGHTINGS, Entry, Term
from objective_views import batch, build, total, view_of

AFFINITY = {"objective": "affinity"}
ENTRIES = [*TERMS.values(), *WEIGHTINGS.values(), *OBJECTIVES.values()]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.code)
def test_every_entry_has_its_code_and_reads_keys_that_exist(entry: Entry) -> None:
    assert callable(entry.load())
    assert set(entry.settings) <= set(DistillSettings.model_fields)


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_weightings_of_a_step_are_made_alike(name: str) -> None:
    step = WEIGHTINGS[name].load_step()
    assert step is None or issubclass(step, StepWeighting)
    assert step is None or list(inspect.signature(step).parameters) == ["settings", "terms", "teachers"]


@pytest.mark.parametrize("name", TERMS)
def test_every_term_counts_as_the_main_one_and_beside_another(name: str) -> None:
    if TERMS[name].patches:  # which trains no vectors of whole pictures
        with pytest.raises(ValidationError, match=f"no entry '{name}'"):
            DistillSettings(objective=name)
    else:
        assert DistillSettings(objective=name).weights == {name: 1.0}
    other = next(one for one in TERMS if one != name)
    assert DistillSettings(objective=other, terms={name: 0.25}).weights == {other: 1.0, name: 0.25}


def constant_term(view: View, teacher: TeacherInputs) -> Tensor:
    return torch.full((len(view.own.image_BD),), 3.0)


@pytest.mark.parametrize("main", ["stacked", "affinity"])
def test_a_new_term_is_one_entry(main: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tables.TERMS, "constant", Term(f"{__name__}:constant_term"))  # type: ignore[arg-type]
    of = batch()
    settings = DistillSettings(objective=main, terms={"constant": 2.0})
    found = build(settings, of)(view_of(of))
    torch.testing.assert_close(found["constant"], torch.tensor(3.0))
    without = total(build(DistillSettings(objective=main), of), view_of(of))
    torch.testing.assert_close(total(build(settings, of), view_of(of)), without + 6.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"objective": "afinity"}, "did you mean 'affinity'"),
        ({"weighting": "sofd"}, "did you mean 'soft'"),
        ({"terms": {"head": 1.0}}, "did you mean 'heads'"),
        ({"terms": {"heads": -1.0}}, "greater than or equal to 0"),
    ],
)
def test_unknown_names_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DistillSettings.model_validate(changes)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({**AFFINITY, "keep": 0.4}, ["keep"]),
        ({**AFFINITY, "keep": 0.4, "weighting": "dropping"}, []),
        ({**AFFINITY, "confidence": 2.0, "weighting": "dropping"}, ["confidence"]),
        ({**AFFINITY, "targets": "phi-s"}, ["targets"]),
        ({**AFFINITY, "targets": "phi-s", "terms": {"interactive": 1.0}}, []),
        ({**AFFINITY, "targets": "phi-s", "terms": {"interactive": 0.0}}, ["targets"]),
        ({"head_loss": "cosine", "objective": "interactive"}, ["head_loss"]),
        ({"objective": "mmkd", "terms": {"heads": 1.0}}, ["terms"]),
        ({"objective": "contrastive", "weighting": "best"}, ["weighting"]),
        ({"weighting": "best"}, ["weighting"]),  # stacked, which has slopes in place of weights
        ({"weighting": "dropping", "keep": 0.4}, ["weighting", "keep"]),
        ({"weighting": "best", "terms": {"affinity": 0.5}}, []),
        ({"weighting": "best", "terms": {"patches": 0.5}}, ["weighting"]),  # by slopes, as the stack beside it
        ({**AFFINITY, "weighting": "best", "terms": {"patches": 0.5}}, []),
        ({"sharpness": 2.0, "other_groups": 0.0, "caption_evidence": False}, []),
        ({**AFFINITY, "terms": {"stacked": 1.0}, "weighting": "best", "sharpness": 2.0}, []),
        ({**AFFINITY, "sharpness": 2.0, "other_groups": 1.0}, ["sharpness", "other_groups"]),
        ({**AFFINITY, "caption_evidence": False}, ["caption_evidence"]),
        ({"ema": 0.9, "self_teacher": 0.3}, []),
        ({**AFFINITY, "ema": 0.9, "self_teacher": 0.3}, ["self_teacher"]),
        ({**AFFINITY, "terms": {"stacked": 1.0}, "ema": 0.9, "self_teacher": 0.3}, []),
        ({**AFFINITY, "mmkd": {"gate_top": 0.5}}, ["mmkd"]),
        ({**AFFINITY, "mmkd": {"gate_top": 0.5}, "weighting": "per_sample"}, []),
        ({"epochs": 3, "pairwise": "sigmoid", "contrastive": 0.3, "caption_posterior": 2.0}, []),
    ],
)
def test_keys_that_nothing_reads_are_known(changes: dict[str, object], expected: list[str]) -> None:
    settings = DistillSettings.model_validate(changes)
    assert settings.without_effect == expected
    assert all(name in settings.problem for name in expected)


def test_old_keys_are_read_and_named(capsys: pytest.CaptureFixture[str]) -> None:
    from mmkd.training.settings import distill

    distill._say_once.cache_clear()
    old = DistillSettings.model_validate({"heads": 0.5, "relational": 1.0, "caption_trust": 2.0})
    assert old == DistillSettings(terms={"heads": 0.5, "relational": 1.0}, caption_posterior=2.0)
    said = capsys.readouterr()
    assert "heads is now called terms.heads" in said.out + said.err
    assert "caption_trust is now called caption_posterior" in said.out + said.err
    with pytest.raises(ValidationError):
        DistillSettings.model_validate({"heads": 0.5, "terms": {"heads": 1.0}})
