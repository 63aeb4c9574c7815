"""Gated attention: its definition in NumPy, laws of bags, and a world in which the mean tile does not show enough."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from mmkd.evaluation.heads.attention import (
    GatedAttention,
    Training,
    attend,
    balanced_cross_entropy,
    cox,
    fit_attention,
    padded,
)
from mmkd.statistics.metrics import Array
from tolerance import assert_rounding

QUICK = Training(epochs=5, hidden=8)


def network(dim: int = 5, outputs: int = 3, seed: int = 0) -> GatedAttention:
    rng = np.random.default_rng(seed)
    mean, scale = (torch.from_numpy(rng.uniform(0.5, 2, dim).astype(np.float32)) for _ in range(2))
    return GatedAttention(mean, scale, 4, outputs, torch.Generator().manual_seed(seed))


def random_bags(sizes: Sequence[int], dim: int = 5, seed: int = 0) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(size, dim)).astype(np.float32) for size in sizes]


def by_definition(net: GatedAttention, bag_TD: Array) -> tuple[Array, Array]:
    """Equation 9 of Ilse et al. in float64."""
    value = {name: tensor.numpy().astype(np.float64) for name, tensor in net.state_dict().items()}
    x = (bag_TD - value["mean_D"]) / value["scale_D"]
    content = np.tanh(x @ value["content.weight"].T + value["content.bias"])
    gate = 1 / (1 + np.exp(-(x @ value["gate.weight"].T + value["gate.bias"])))
    raw = (content * gate) @ value["attention.weight"][0] + value["attention.bias"]
    weight = np.exp(raw) / np.exp(raw).sum()
    return value["output.weight"] @ (weight @ x) + value["output.bias"], weight


def test_forward_is_the_definition_whatever_stands_beside_a_bag() -> None:
    bags = random_bags([3, 7, 1])
    net = network()
    output, weights = attend(net, bags)
    for n, bag in enumerate(bags):
        expected, expected_weight = by_definition(net, bag)
        assert_rounding(output[n], expected)
        assert_rounding(weights[n], expected_weight)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=6), st.integers(0, 99))
def test_attention_adds_up_and_order_does_not_count(sizes: list[int], seed: int) -> None:
    bags, net, rng = random_bags(sizes, seed=seed), network(seed=seed), np.random.default_rng(seed)
    orders = [rng.permutation(size) for size in sizes]
    output, weights = attend(net, bags)
    shuffled, moved = attend(net, [bag[order] for bag, order in zip(bags, orders, strict=True)])
    assert_rounding(shuffled, output)
    for weight, other, order in zip(weights, moved, orders, strict=True):
        assert_rounding(weight.sum(), 1.0)
        assert_rounding(other, weight[order])


def test_every_tile_twice_changes_nothing() -> None:
    bags, net = random_bags([4, 6]), network()
    assert_rounding(attend(net, [np.repeat(bag, 2, axis=0) for bag in bags])[0], attend(net, bags)[0])


def test_padding_is_marked() -> None:
    tile, there = padded(random_bags([2, 3]))
    assert tile.shape == (2, 3, 5)
    assert there.tolist() == [[True, True, False], [True, True, True]]


def test_training_repeats_itself_and_leaves_the_global_generator_alone() -> None:
    bags, label = random_bags([4] * 12), np.arange(12) % 3
    before = torch.get_rng_state()
    loss = balanced_cross_entropy(label, 3)
    nets = [fit_attention(bags, label, loss, 3, QUICK, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(before, torch.get_rng_state())
    one, again, other = (attend(net, bags)[0] for net in nets)
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_small_batches_take_one_thread_and_give_the_others_back(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 5)
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    attend(network(), random_bags([3]))
    attend(network(dim=512), random_bags([2100], dim=512))
    assert asked == [1, 5, 5, 5]


def test_classes_weigh_the_same() -> None:
    """Three bags of class 0 and one of class 1: weights 4 / (2 * 3) and 4 / (2 * 1); class 2 is not there."""
    label = np.array([0, 0, 0, 1])
    output = torch.from_numpy(np.random.default_rng(0).normal(size=(4, 3)))
    plain = torch.nn.functional.cross_entropy(output, torch.from_numpy(label), reduction="none")
    expected = (plain * torch.tensor([2 / 3, 2 / 3, 2 / 3, 2])).sum() / 4
    loss = balanced_cross_entropy(label, 3)
    torch.testing.assert_close(loss(output.float(), torch.from_numpy(label)), expected.float())


def test_a_rare_class_is_not_given_up() -> None:
    label = np.array([0] * 18 + [1] * 2)
    bags = random_bags([5] * 20, seed=3)
    for bag, one in zip(bags, label, strict=True):
        bag[:, 0] += 3 * one
    net = fit_attention(
        bags, label, balanced_cross_entropy(label, 2), 2, Training(lr=1e-2), torch.Generator().manual_seed(0)
    )
    assert (attend(net, bags)[0].argmax(axis=1) == label).all()


def test_the_epoch_with_the_lowest_val_loss_is_kept() -> None:
    bags, label = random_bags([4] * 10), np.arange(10) % 2
    val = (random_bags([4] * 6, seed=9), np.arange(6) % 2)
    for bag, one in zip(bags + val[0], [*label, *val[1]], strict=True):
        bag[:, 0] += one
    loss = balanced_cross_entropy(label, 2)

    def val_loss(epochs: int, patience: int) -> float:
        training = Training(epochs=epochs, hidden=8, lr=3e-2, patience=patience)
        net = fit_attention(bags, label, loss, 2, training, torch.Generator().manual_seed(0), val)
        return float(loss(torch.from_numpy(attend(net, val[0])[0]), torch.from_numpy(val[1])))

    lowest = [val_loss(epochs, patience=99) for epochs in range(1, 16)]
    assert all(later <= earlier for earlier, later in pairwise(lowest))
    assert lowest[0] > lowest[-1]
    assert val_loss(200, patience=3) == pytest.approx(val_loss(60, patience=3))  # it had ended long before


def test_a_signal_in_one_tile_of_twenty() -> None:
    """The tile says its class only together with a mark that other tiles lack; the mean drowns it."""

    def world(seed: int, bags: int) -> tuple[list[Array], Array]:
        rng, label = np.random.default_rng(seed), np.arange(bags) % 2
        made = random_bags([20] * bags, dim=16, seed=seed)
        for bag, one in zip(made, label, strict=True):
            bag[rng.integers(20), :2] = 4.0, 3.0 if one else -3.0
        return made, label

    (bags, label), val, (unseen, truth) = world(0, 60), world(200, 16), world(100, 200)
    net = fit_attention(
        bags, label, balanced_cross_entropy(label, 2), 2, Training(lr=3e-3), torch.Generator().manual_seed(0), val
    )
    output, weights = attend(net, unseen)
    attention = roc_auc_score(truth, output[:, 1] - output[:, 0])
    mean = LogisticRegression().fit([bag.mean(axis=0) for bag in bags], label)
    pooled = roc_auc_score(truth, mean.decision_function([bag.mean(axis=0) for bag in unseen]))
    assert attention > 0.9 > pooled
    found = [int(weight.argmax()) == int(bag[:, 0].argmax()) for weight, bag in zip(weights, unseen, strict=True)]
    assert np.mean(found) > 0.8


def test_hazards_are_learnt_with_a_cox_loss() -> None:
    rng = np.random.default_rng(0)
    bags = random_bags(rng.integers(3, 9, 60).tolist(), seed=1)
    risk = rng.normal(size=60)
    for bag, one in zip(bags, risk, strict=True):
        bag[:, 2] += 2 * one
    target = np.stack([np.ones(60), np.exp(-risk)], axis=1).astype(np.float32)
    training = Training(epochs=60, lr=1e-2, batch_bags=None)
    net = fit_attention(bags, target, cox, 1, training, torch.Generator().manual_seed(0))
    hazard = attend(net, bags)[0][:, 0]
    assert np.corrcoef(hazard, risk)[0, 1] > 0.9


def test_wrong_bags_are_refused() -> None:
    label, generator = np.array([0, 1]), torch.Generator()
    loss = balanced_cross_entropy(label, 2)
    for bags in ([], random_bags([2]), [*random_bags([2]), *random_bags([2], dim=4)], random_bags([2, 0])):
        with pytest.raises(ValueError, match="expected"):
            fit_attention(bags, label, loss, 2, QUICK, generator)
    with pytest.raises(ValueError, match="the loss is nan in training"):
        fit_attention([bag * np.nan for bag in random_bags([2, 2])], label, loss, 2, QUICK, generator)
