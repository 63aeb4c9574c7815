"""A plan's numbers are those of hand arithmetic, of the published architectures, and of real tensors."""

import math
from typing import Any

import pytest
import torch

from mmkd.errors import ConfigError
from mmkd.settings import Machine
from mmkd.student.settings import StudentSettings
from mmkd.teachers.files.open_clip_folder import architecture, build_network
from mmkd.teachers.weightless import count_teacher
from mmkd.teachers.zoo.settings import TeacherSpec
from mmkd.training.losses.memory import CELLS
from mmkd.training.plan import (
    Hardware,
    StudentCount,
    checkpoint_bytes,
    count_student,
    largest_micro_batch,
    logit_bytes,
    loss_gflop,
    pair_bytes,
    patch_bytes,
    patch_gflop,
    plan_memory,
    plan_stage,
    state_bytes,
)
from mmkd.training.settings.distill import DistillSettings
from mmkd.training.settings.train import PretrainSettings
from tiny import tiny_config

BERT = "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract"
VIT_B16 = architecture("ViT-B-16")
HF_TEXT = {"hf_model_name": BERT, "hf_proj_type": "mlp", "hf_pooler_type": "cls_last_hidden_state_pooler"}
PUBLISHED = StudentSettings(config={**VIT_B16, "text_cfg": {**HF_TEXT, "context_length": 256}})
BUCKETS = PretrainSettings(text_buckets=4)


def blocks(tokens: int, width: int, layers: int) -> float:
    """Operations of transformer layers: query, key, value, output (4), MLP of four times the width (8), attention."""
    return layers * (2 * tokens * 12 * width * width + 2 * 2 * tokens * tokens * width)


def test_the_published_student_by_hand() -> None:
    """ViT-B/16 at 224: 197 tokens of width 768, 35.1 GFLOP; BERT-base 11.0 at 64 tokens and 45.9 at 256."""
    found = count_student(PUBLISHED, BUCKETS, 64)
    image = 2 * 196 * (3 * 16 * 16) * 768 + blocks(197, 768, 12) + 2 * 768 * 512
    assert found.image_gflop == pytest.approx(image / 1e9, rel=1e-9)
    assert found.image_gflop == pytest.approx(35.1, abs=0.05)
    head = 2 * 768 * 640 + 2 * 640 * 512
    for tokens, gflop in ((64, found.text_gflop), (256, found.context_gflop)):
        assert gflop == pytest.approx((blocks(tokens, 768, 12) + head) / 1e9, rel=1e-9)
    assert (found.tokens, found.context, found.dim, found.blocks) == (64, 256, 512, 24)
    assert found.parameters == pytest.approx(86.2e6 + 109.5e6, rel=0.01)
    assert BERT in found.assumed
    assert "the zoo knows" in found.assumed
    stage = PretrainSettings(text_buckets=1)
    assert 3 * found.forward_gflop(stage) == pytest.approx(243, abs=0.5)  # every caption padded to 256
    assert 3 * found.forward_gflop(BUCKETS) == pytest.approx(138, abs=0.5)  # their own lengths


def test_an_unknown_bert_is_of_base_size_and_a_short_context_cuts_captions() -> None:
    config = {**VIT_B16, "text_cfg": {**HF_TEXT, "hf_model_name": "nobody/has-this", "context_length": 32}}
    found = count_student(StudentSettings(config=config), BUCKETS, 64)
    assert (found.tokens, found.context) == (32, 32)
    assert found.text_gflop == found.context_gflop
    assert "base size" in found.assumed


def real_bytes(network: Any, tokens: int, bf16: bool, count: int) -> int:
    """The oracle: what autograd really keeps of a batch, by storage."""
    saved: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    autocast = torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), autocast:
        network.encode_image(torch.zeros(count, 3, 32, 32))
        network.encode_text(torch.zeros(count, tokens, dtype=torch.long))
    return sum(tensor.untyped_storage().nbytes() for tensor in saved.values())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_activations_are_those_of_real_tensors(precision: str) -> None:
    config = tiny_config()
    found = count_student(StudentSettings(config=config), PretrainSettings(precision=precision, text_buckets=1), 9)
    network = build_network(config).eval()
    small, large = (real_bytes(network, 16, precision == "bf16", count) for count in (2, 4))
    tolerance = 0.01 if precision == "bf16" else 0.0  # real kernels keep means of norms in another precision
    assert found.kept_bytes == pytest.approx((large - small) / 2, rel=tolerance)
    assert found.parameters == sum(p.numel() for p in network.parameters())
    # two blocks of one layer each: 5 tokens an image, 16 a text, width 32; bf16 streams may stay in fp32
    assert found.block_bytes in {size * 32 * (5 + 16) for size in (2, 4)} | {
        32 * (2 * 5 + 4 * 16),
        32 * (4 * 5 + 2 * 16),
    }


def test_nothing_is_left_switched() -> None:
    before = torch.backends.mha.get_fastpath_enabled()
    count_student(StudentSettings(config=tiny_config()), BUCKETS, 9)
    assert torch.backends.mha.get_fastpath_enabled() == before
    assert float(torch.ones(2).sum()) == 2.0


def test_a_zoo_teacher_is_counted_as_its_extraction_counts_it() -> None:
    """ViT-B/32 at 224 with CLIP's text tower: 50 and 64 tokens."""
    found = count_teacher(TeacherSpec.model_validate("plip"), 64)
    image = 2 * 49 * (3 * 32 * 32) * 768 + blocks(50, 768, 12) + 2 * 768 * 512
    text = blocks(64, 512, 12) + 2 * 512 * 512
    assert found.dim == 512
    assert found.gflop == pytest.approx((image + text) / 1e9, rel=1e-6)


STUDENT = StudentCount(
    parameters=1_000_000,
    dim=8,
    tokens=10,
    context=20,
    image_gflop=3.0,
    text_gflop=1.0,
    context_gflop=2.0,
    kept_bytes=5000.0,
    block_bytes=400.0,
    blocks=5,
)
HARDWARE = Hardware(gpus=4, tflops=100.0, mfu=0.5, memory_gb=1.0)


def test_steps_and_hours_by_hand() -> None:
    settings = PretrainSettings(epochs=3, batch_size=64, text_buckets=1)
    found = plan_stage("pretrain", settings, 1000, STUDENT, [], Machine(), HARDWARE)
    assert (found.steps, found.pairs) == (45, 45 * 64)
    loss = 4 * 64 * 3 * 8 / 1e9
    assert found.gflop == pytest.approx(3 * 5.0 + loss)
    assert found.hours == pytest.approx(45 * 64 * (15 + loss) * 1e9 / (4 * 100e12 * 0.5) / 3600)


@pytest.mark.parametrize(
    ("changes", "student", "teachers"),
    [
        ({"objective": "contrastive"}, 8, 0),
        ({"objective": "affinity"}, 2 * 8, 1),  # beside each teacher
        ({"objective": "affinity", "contrastive": 0.3}, 3 * 8, 1),
        ({}, 8, 2),  # stacked: once for all, whose captions are compared with one another as well
        ({"caption_evidence": False}, 8, 1),
        ({"contrastive": 0.3}, 2 * 8, 2),
        ({"objective": "affinity", "terms": {"stacked": 0.5}}, 3 * 8, 3),
        ({"objective": "affinity", "terms": {"stacked": 0.5}, "caption_evidence": False}, 3 * 8, 2),
        ({"matryoshka": (4, 2)}, 8 + 4 + 2, 6),
        ({"ema": 0.9}, 8, 2),
        ({"caption_evidence": False, "matryoshka": (4, 2)}, 8 + 4 + 2, 3),
        ({"objective": "mmkd"}, 2 * 8, 1),
    ],
)
def test_operations_of_the_losses_by_hand(changes: dict[str, Any], student: int, teachers: int) -> None:
    """student: dimensions of its logits, each there and back; teachers: times that all of theirs are computed."""
    found = loss_gflop(DistillSettings(batch_size=64, **changes), 8, [10, 20])
    assert found == pytest.approx(4 * 64 * (3 * student + teachers * 30) / 1e9)


def test_patches_by_hand() -> None:
    """A tiny student has 2 x 2 patches of width 32; two teachers."""
    follows = DistillSettings(batch_size=64, terms={"patches": 0.5}, text_buckets=1)
    found = count_student(StudentSettings(config=tiny_config()), follows, 9, 2)
    assert (found.patches, found.patch_width) == (4, 32)
    assert patch_gflop(found) == pytest.approx(3 * 2 * 4 * 4 * 32 / 1e9)
    assert patch_bytes(16, found, 2) == 4 * 16 * (4 * 32 + 7 * 16)
    assert loss_gflop(follows, 8, [10, 20]) == loss_gflop(DistillSettings(batch_size=64), 8, [10, 20])
    without = count_student(StudentSettings(config=tiny_config()), DistillSettings(), 9, 2)
    assert (without.patches, patch_gflop(without), patch_bytes(16, without, 2)) == (0, 0.0, 0.0)
    plans = [plan_stage("a", follows, 640, one, [10, 20], Machine(), HARDWARE) for one in (found, without)]
    assert plans[0].loss_gflop - plans[1].loss_gflop == pytest.approx(patch_gflop(found))
    memory = [plan_memory("a", follows, one, [10, 20], Machine(), HARDWARE).logits for one in (found, without)]
    assert memory[0] - memory[1] == pytest.approx(patch_bytes(16, found, 2) / 1e9)
    with pytest.raises(ConfigError, match=r"needs a student that gives patches .* smaller than the grid of 3 x 3"):
        count_student(StudentSettings(config=tiny_config()), follows, 9, 3)


@pytest.mark.parametrize(("name", "width"), [("plip", 768), ("biomedclip", 768), ("pmc-clip", 2048), ("medclip", 0)])
def test_patches_of_the_zoo_are_counted_without_weights(name: str, width: int) -> None:
    """ViT-B of transformers and timm, a ResNet-50's last map; nobody reads MedCLIP's."""
    assert count_teacher(TeacherSpec.model_validate(name), 64, 4).patch_width == width


@pytest.mark.parametrize(("changes", "passes"), [({}, 3), ({"self_teacher": 0.3}, 4), ({"objective": "affinity"}, 3)])
def test_an_average_that_teaches_is_one_more_forward_pass_and_one_more_teacher(
    changes: dict[str, Any], passes: int
) -> None:
    settings = DistillSettings(epochs=1, batch_size=64, text_buckets=1, ema=0.9, **changes)
    found = plan_stage("a", settings, 640, STUDENT, [10, 20], Machine(), HARDWARE)
    assert found.gflop - found.loss_gflop == pytest.approx(passes * 5.0)
    before = settings.model_copy(update={"self_teacher": 0.0})
    taught = passes - 3
    more = loss_gflop(settings, 8, [10, 20]) - loss_gflop(before, 8, [10, 20])
    assert more == pytest.approx(taught * 4 * 64 * 8 / 1e9)
    logits = [plan_memory("a", one, STUDENT, [10, 20], Machine(), HARDWARE).logits for one in (settings, before)]
    assert logits[0] - logits[1] == pytest.approx(taught * 4 * 2 * 64 * 8 / 1e9)


@pytest.mark.parametrize(
    ("machine", "passes"),
    [
        (Machine(), 3),
        (Machine(grad_checkpointing=True), 4),
        (Machine(micro_batch=8), 4),
        (Machine(micro_batch=16), 3),  # the whole of a process's 16 pairs
        (Machine(micro_batch=8, grad_checkpointing=True), 5),
    ],
)
def test_what_is_computed_again_counts(machine: Machine, passes: int) -> None:
    found = plan_stage(
        "a", PretrainSettings(epochs=1, batch_size=64, text_buckets=1), 640, STUDENT, [], machine, HARDWARE
    )
    assert found.gflop - found.loss_gflop == pytest.approx(passes * 5.0)


def test_memory_by_hand() -> None:
    settings = DistillSettings(batch_size=64, text_buckets=1)
    assert state_bytes(settings, 1000, Machine(), 4) == 16 * 1000
    assert state_bytes(settings, 1000, Machine(sharding="fsdp"), 4) == 4 * 1000
    averaged = DistillSettings(precision="bf16", ema=0.99, text_buckets=1)
    assert state_bytes(averaged, 1000, Machine(), 4) == 22 * 1000
    assert pair_bytes(STUDENT, False) == 5000
    assert pair_bytes(STUDENT, True) == 400 + 1000
    assert logit_bytes(16, 64, 8, [10, 20]) == 4 * (2 * 64 * 38 + 10 * 16 * 64)
    assert logit_bytes(4096, 32768, 8, []) == 4 * (2 * 32768 * 8 + 10 * CELLS)  # chunks, not 4096 x 32768
    found = plan_memory("distill", settings, STUDENT, [10, 20], Machine(), HARDWARE)
    assert found.states == pytest.approx(0.016)
    assert found.activations == pytest.approx(16 * 5000 / 1e9)
    assert found.total == pytest.approx(found.states + found.activations + found.logits)
    assert found.fits


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("memory_gb", [0.01, 0.0178, 0.018, 0.02])
def test_the_largest_micro_batch_fits_and_the_next_does_not(memory_gb: float, checkpointing: bool) -> None:
    settings, hardware = PretrainSettings(batch_size=64, text_buckets=1), Hardware(4, 100.0, 0.5, memory_gb)
    largest = largest_micro_batch(settings, STUDENT, [], Machine(), hardware, checkpointing)
    assert 0 <= largest <= math.ceil(64 / 4)

    def fits(count: int) -> bool:
        machine = Machine(micro_batch=count, grad_checkpointing=checkpointing)
        return plan_memory("a", settings, STUDENT, [], machine, hardware).fits

    assert largest == 0 or fits(largest)
    assert largest == 16 or not fits(largest + 1)


def test_checkpoints_are_those_kept_one_being_written_and_the_best() -> None:
    assert checkpoint_bytes(PretrainSettings(keep_last=2), 1000) == 3 * 12 * 1000
    best = PretrainSettings(keep_last=2, ema=0.9, validate_every=10, select="best")
    assert checkpoint_bytes(best, 1000) == 3 * 16 * 1000 + 4 * 1000
