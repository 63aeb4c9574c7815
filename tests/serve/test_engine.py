"""Batches, the cache of texts, calibration, keys and rates: their laws, without a network."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from running import Pixels, picture, png, service_of, text_vector, unit

from mmkd.errors import ConfigError
from mmkd.labels.calibrate import Calibration
from mmkd.serve.access import KEYS, Access, check_exposure, keys_of
from mmkd.serve.engine.batcher import Batcher
from mmkd.serve.engine.limits import BUSY, UNAUTHORISED, Limits, RequestError


def test_a_picture_that_comes_alone_does_not_wait() -> None:
    service = service_of(Pixels(), limits=Limits(wait_ms=20_000))
    begin = time.monotonic()
    service.embed([png(0)])
    assert time.monotonic() - begin < 10
    service.close()


def test_a_batch_waits_for_what_is_being_decoded() -> None:
    sizes: list[int] = []

    def encode(image_BCHW: np.ndarray) -> np.ndarray:
        sizes.append(len(image_BCHW))
        return image_BCHW.reshape(len(image_BCHW), -1)

    batcher = Batcher(encode, Limits(wait_ms=20_000))
    with batcher.room_for(3) as places:
        futures = [places.submit(np.full((1, 1, 1), value)) for value in range(3)]
        assert [int(future.result(10)[0]) for future in futures] == [0, 1, 2]
    assert sizes == [3]
    assert batcher.waiting == 0
    batcher.close()


def test_places_of_pictures_that_never_came_are_free_again() -> None:
    batcher = Batcher(lambda image_BCHW: image_BCHW, Limits(queue=2))
    with pytest.raises(ZeroDivisionError), batcher.room_for(2):
        raise ZeroDivisionError
    assert batcher.waiting == 0
    with pytest.raises(RequestError) as refused, batcher.room_for(3):
        pass
    assert (refused.value.status, refused.value.retry_after_s) == (BUSY, 1.0)
    batcher.close()
    with pytest.raises(RequestError, match="stopping"), batcher.room_for(1) as places:
        places.submit(np.zeros((1, 1, 1)))


def test_what_waits_is_computed_before_the_end() -> None:
    gate = threading.Event()
    batcher = Batcher(lambda image_BCHW: image_BCHW, Limits(batch=1))
    first = batcher.call(gate.wait)
    with batcher.room_for(2) as places:
        futures = [places.submit(np.zeros((1, 1, 1))) for _ in range(2)]
    closing = threading.Thread(target=batcher.close)
    closing.start()
    gate.set()
    closing.join()
    assert first.result(0)
    assert all(future.done() and not future.exception() for future in futures)


def test_a_failing_batch_fails_its_own_pictures_only() -> None:
    def encode(image_BCHW: np.ndarray) -> np.ndarray:
        if image_BCHW.any():
            raise FloatingPointError
        return image_BCHW

    batcher = Batcher(encode, Limits(batch=1))
    with batcher.room_for(2) as places:
        bad, good = places.submit(np.ones((1, 1, 1))), places.submit(np.zeros((1, 1, 1)))
    assert isinstance(bad.exception(10), FloatingPointError)
    assert good.result(10) is not None
    batcher.close()


def test_many_threads_get_each_its_own_vector() -> None:
    service = service_of(Pixels())
    alone = np.concatenate([service.embed([picture(seed)]) for seed in range(40)])
    with ThreadPoolExecutor(8) as pool:
        together = np.concatenate(list(pool.map(lambda seed: service.embed([picture(seed)]), range(40))))
    np.testing.assert_array_equal(alone, together)
    service.close()


def test_texts_are_computed_once_and_the_oldest_forgotten() -> None:
    model = Pixels()
    service = service_of(model, limits=Limits(cached_texts=2))
    for texts in (["a", "b"], ["b", "a", "b"], ["c"], ["a"], ["b"]):
        np.testing.assert_allclose(service.embed(texts=texts), unit(np.stack([text_vector(text) for text in texts])))
    assert model.texts == [["a", "b"], ["c"], ["b"]]  # a was asked for later than b
    service.close()


def test_the_runs_temperature_is_for_its_own_classes_and_prompts_only() -> None:
    own = {"one": ["abc", "de"], "two": ["zz"]}
    facts = {"sets": {"my_set": own}, "fitted": {"my_set": Calibration(0.5, "fitted on my_set", True)}}
    service = service_of(Pixels(), **facts)
    (found,) = service.classify(picture(0), own)
    assert (found.calibrated, found.basis) == (True, "fitted on my_set")
    cosine = {score.name: score.cosine for score in found.scores}
    odds = found.scores[0].probability / found.scores[1].probability
    first, second = (cosine[score.name] for score in found.scores)
    assert odds == pytest.approx(np.exp((first - second) / 0.5), rel=1e-5)
    for others in ({**own, "three": ["y"]}, {"one": ["abc"], "two": ["zz"]}, ["one", "two"]):
        (other,) = service.classify(picture(0), others)
        assert not other.calibrated
        assert "not calibrated" in other.basis
    service.close()


def test_a_models_own_classifier_answers_where_no_classes_are_named() -> None:
    class Own:
        classes, is_calibrated = ("x", "y", "z"), True

        def probabilities(self, vector_ND: np.ndarray) -> np.ndarray:
            return np.tile([0.2, 0.7, 0.1], (len(vector_ND), 1))

    service = service_of(Pixels(), classifier=Own(), basis="30 labelled pictures")
    (found,) = service.classify(picture(0), threshold=0.6)
    assert [(score.name, score.probability, score.cosine) for score in found.scores] == [
        ("y", 0.7, None),
        ("x", 0.2, None),
        ("z", 0.1, None),
    ]
    assert (found.label, found.calibrated, found.basis) == ("y", True, "30 labelled pictures")
    assert service.classify(picture(0), threshold=0.8)[0].label is None
    service.close()


@given(
    gaps=st.lists(st.floats(0, 3), min_size=1, max_size=60),
    rate=st.floats(0.2, 20),
    burst=st.integers(1, 10),
)
def test_in_any_span_no_client_gets_more_than_its_rate(gaps: list[float], rate: float, burst: int) -> None:
    clock = [0.0]
    access = Access([], Limits(rate=rate, burst=burst), now=lambda: clock[0])
    let_in = []
    for gap in gaps:
        clock[0] += gap
        try:
            access.check_rate("me")
            let_in.append(clock[0])
        except RequestError as error:
            clock[0] += error.retry_after_s + 1e-6
            access.check_rate("me")  # what the message says is true
            let_in.append(clock[0])
    for first in range(len(let_in)):
        for last in range(first, len(let_in)):
            assert last - first + 1 <= burst + rate * (let_in[last] - let_in[first]) + 1e-3


def test_clients_do_not_use_up_each_others_rates() -> None:
    access = Access([], Limits(rate=1, burst=1), now=lambda: 0.0)
    for client in ("a", "b"):
        access.check_rate(client)
        with pytest.raises(RequestError):
            access.check_rate(client)


def test_any_of_the_keys_lets_in_and_clients_are_told_apart_by_it() -> None:
    access = Access(["a" * 20, "b" * 20], Limits())
    first, second = (access.client({"x-api-key": letter * 20}, "1.2.3.4") for letter in "ab")
    assert first != second
    assert "a" * 20 not in first
    with pytest.raises(RequestError) as refused:
        access.client({"authorization": "Bearer ünïcödé"}, "1.2.3.4")
    assert refused.value.status == UNAUTHORISED


@pytest.mark.parametrize("keys", ["short", "a" * 20 + ",x"])
def test_keys_that_can_be_guessed_are_refused(keys: str) -> None:
    with pytest.raises(ConfigError, match=r"secrets\.token_urlsafe"):
        keys_of({KEYS: keys})
    assert keys_of({KEYS: f" {'a' * 20} ,"}) == ["a" * 20]


def test_others_are_not_served_without_keys_unless_it_was_asked_for() -> None:
    with pytest.raises(ConfigError, match="--no-auth"):
        check_exposure("0.0.0.0", [], no_auth=False)
    check_exposure("0.0.0.0", [], no_auth=True)
    check_exposure("0.0.0.0", ["a" * 20], no_auth=False)
    check_exposure("127.0.0.1", [], no_auth=False)
