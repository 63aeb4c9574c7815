"""The Cox loss of a mini-batch is the partial likelihood, has its gradient, and survives what networks put out."""

import numpy as np
import pytest
import torch
from survival_world import patients

from mmkd.evaluation.heads.attention import cox_loss
from mmkd.statistics.survival.cox import fit_cox
from mmkd.statistics.survival.cox_likelihood import likelihood, log_partial_likelihood, risk_sets
from mmkd.statistics.survival.outcomes import Outcomes


def batch(outcomes: Outcomes) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Log hazards that ask for gradients, events, times."""
    log_hazard_B = torch.tensor(np.random.default_rng(0).normal(size=len(outcomes)), requires_grad=True)
    return log_hazard_B, torch.from_numpy(outcomes.event_N), torch.from_numpy(outcomes.time_N)


def test_loss_and_gradient_equal_the_partial_likelihood() -> None:
    outcomes = patients(40)
    log_hazard_B, event_B, time_B = batch(outcomes)
    loss = cox_loss(log_hazard_B, event_B, time_B)
    loss.backward()
    value_N, sets, events = log_hazard_B.detach().numpy(), risk_sets(outcomes), outcomes.event_N.sum()
    assert loss.item() == pytest.approx(-log_partial_likelihood(value_N, sets) / events, abs=1e-12)
    # with the identity as covariates the coefficients are the log hazards
    gradient_N = likelihood(np.eye(40), value_N, sets).gradient_D
    np.testing.assert_allclose(log_hazard_B.grad, -gradient_N / events, atol=1e-12)


def test_two_patients_by_hand() -> None:
    """The first has its event while both are at risk: log(1 + e^-2)."""
    loss = cox_loss(torch.tensor([2.0, 0.0]), torch.tensor([1, 0]), torch.tensor([1.0, 2.0]))
    assert loss.item() == pytest.approx(np.log1p(np.exp(-2)))


def test_a_shift_and_the_order_change_nothing() -> None:
    log_hazard_B, event_B, time_B = batch(patients(40))
    loss = cox_loss(log_hazard_B, event_B, time_B)
    order = torch.from_numpy(np.random.default_rng(1).permutation(40))
    torch.testing.assert_close(cox_loss(log_hazard_B + 7, event_B, time_B), loss)
    torch.testing.assert_close(cox_loss(log_hazard_B[order], event_B[order], time_B[order]), loss)


def test_descent_reaches_the_fitted_model() -> None:
    outcomes = patients(40)
    value_ND = np.random.default_rng(3).normal(size=(40, 2))
    coefficient_D = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [coefficient_D], max_iter=50, tolerance_grad=1e-12, tolerance_change=1e-15, line_search_fn="strong_wolfe"
    )
    event_B, time_B = torch.from_numpy(outcomes.event_N), torch.from_numpy(outcomes.time_N)

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = cox_loss(torch.from_numpy(value_ND) @ coefficient_D, event_B, time_B)
        loss.backward()
        return loss

    optimiser.step(closure)
    expected = fit_cox(value_ND, outcomes).coefficient_D
    np.testing.assert_allclose(coefficient_D.detach(), expected, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_enormous_log_hazards_keep_loss_and_gradient_finite(dtype: torch.dtype) -> None:
    log_hazard_B = torch.tensor([500.0, -500.0, 300.0, 0.0], dtype=dtype, requires_grad=True)
    loss = cox_loss(log_hazard_B, torch.tensor([0, 1, 1, 1]), torch.tensor([3.0, 1.0, 1.0, 2.0]))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(log_hazard_B.grad).all()


def test_a_batch_without_events_teaches_nothing() -> None:
    log_hazard_B = torch.randn(3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    loss = cox_loss(log_hazard_B, torch.zeros(3), torch.tensor([1.0, 2.0, 3.0]))
    loss.backward()
    assert loss.item() == 0
    assert (log_hazard_B.grad == 0).all()


def test_the_last_event_alone_costs_nothing() -> None:
    loss = cox_loss(torch.tensor([3.0, 1.0]), torch.tensor([0, 1]), torch.tensor([1.0, 2.0]))
    assert loss.item() == 0


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match=r"\[\(2, 1\), \(2,\), \(2,\)\]; expected the same \(B,\)"):
        cox_loss(torch.zeros(2, 1), torch.ones(2), torch.ones(2))
