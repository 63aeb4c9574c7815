"""The service over HTTP: right values in every form of a request, and an answer with a status to every wrong one."""

import base64
import io
import re
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from dicom_samples import dicom
from hypothesis import given, settings
from hypothesis import strategies as st
from running import DIM, Pixels, picture, png, running, service_of, text_vector, unit

from mmkd.images.decode import decode
from mmkd.serve.access import KEYS
from mmkd.serve.engine.limits import Limits
from mmkd.serve.engine.service import PURPOSE

EXPLAINED = {"message", "type", "code", "found", "expected", "cure", "request_id"}


@pytest.fixture(scope="module")
def student() -> Pixels:
    return Pixels()


@pytest.fixture(scope="module")
def client(student: Pixels) -> Iterator[httpx.Client]:
    with running(service_of(student, Pixels("teacher", scale=1.0)), hosts=["127.0.0.1"]) as client:
        yield client


def text64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def expected(seed: int) -> np.ndarray:
    """The vector of picture `seed`, by definition of the model."""
    pixels = np.asarray(picture(seed).resize((4, 4), 0)).transpose(2, 0, 1)
    return unit(pixels.reshape(1, -1).astype(np.float32) + 1)[0]


def explained(response: httpx.Response, status: int) -> dict[str, Any]:
    """The error of an answer, in the one shape that all have."""
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == EXPLAINED
    assert error["request_id"] == response.headers["x-request-id"]
    assert "Traceback" not in response.text
    return dict(error)


def test_embeddings_are_the_models_vectors_pictures_first(client: httpx.Client) -> None:
    body = {"input": ["a b", "c"], "image": [text64(png(1)), f"data:image/png;base64,{text64(png(2))}"]}
    told = client.post("/v1/embeddings", json=body).json()
    vectors = np.array([row["embedding"] for row in told["data"]])
    wanted = [expected(1), expected(2), *unit(np.stack([text_vector("a b"), text_vector("c")]))]
    np.testing.assert_allclose(vectors, wanted, atol=1e-6)
    assert [row["index"] for row in told["data"]] == [0, 1, 2, 3]
    assert told["usage"] == {"prompt_tokens": 3, "total_tokens": 3, "pictures": 2}


def test_base64_holds_the_same_numbers(client: httpx.Client) -> None:
    as_list, as_text = (
        client.post("/v1/embeddings", json={"input": "x", "encoding_format": kind}).json()["data"][0]["embedding"]
        for kind in ("float", "base64")
    )
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(as_text), "<f4"), np.float32(as_list))


def test_every_form_of_a_request_gives_the_same_answer(client: httpx.Client) -> None:
    data = png(3)
    forms = [
        client.post("/classify", json={"image": text64(data), "classes": ["abc", "zz"], "threshold": 0.1}),
        client.post("/classify", files={"image": data}, data={"classes": "abc,zz", "threshold": "0.1"}),
        client.post("/classify", files={"image": data}, data={"classes": ["abc", "zz"], "threshold": "0.1"}),
        client.post("/classify?classes=abc,zz&threshold=0.1", content=data),
        client.post("/classify", params={"classes": '["abc", "zz"]', "threshold": "0.1"}, content=data),
    ]
    assert [one.status_code for one in forms] == [200] * 5
    assert all(one.json() == forms[0].json() for one in forms)


def test_probabilities_are_the_softmax_over_mean_prompts(client: httpx.Client) -> None:
    classes = {"one": ["abc", "de"], "two": ["zz"]}
    told = client.post("/classify", json={"image": text64(png(3)), "classes": classes, "models": ["all"]}).json()
    prompts = unit(np.stack([text_vector(text) for text in ("abc", "de", "zz")]))
    class_CD = unit(np.stack([prompts[:2].mean(axis=0), prompts[2]]))
    cosine_C = class_CD @ expected(3)
    for answer, scale in zip(told["answers"], (10.0, 1.0), strict=True):
        wanted = np.exp(scale * cosine_C) / np.exp(scale * cosine_C).sum()
        got = {score["name"]: (score["probability"], score["cosine"]) for score in answer["scores"]}
        np.testing.assert_allclose([got["one"], got["two"]], np.stack([wanted, cosine_C], axis=1), atol=1e-6)
        assert answer["label"] == ("one", "two")[wanted.argmax()]
        assert (answer["calibrated"], answer["abstained"]) == (False, False)
        assert "not calibrated" in answer["basis"]
    assert told["notice"] == PURPOSE


def test_a_model_abstains_below_the_threshold(client: httpx.Client) -> None:
    told = client.post("/classify?classes=abc,abd&threshold=0.99", content=png(4)).json()["answers"][0]
    assert (told["label"], told["abstained"], len(told["scores"])) == (None, True, 2)


def test_a_dicom_body_is_read_as_curation_reads_it(client: httpx.Client, tmp_path: Path) -> None:
    dicom(tmp_path / "x.dcm", "1.2.3", 0)
    data = (tmp_path / "x.dcm").read_bytes()
    told = client.post("/v1/embeddings", content=data, headers={"content-type": "application/dicom"}).json()
    wanted = Pixels().encode_images([decode(data)])
    np.testing.assert_allclose(told["data"][0]["embedding"], wanted[0], atol=1e-6)


WRONG: list[tuple[str, dict[str, Any], int, str]] = [
    ("/classify?classes=a,b", {"content": b"%PDF-1.4 no picture"}, 415, "none of JPEG"),
    ("/classify?classes=a,b", {"content": png(0)[:200]}, 415, "unreadable_image|truncated_image"),
    ("/classify?classes=a,b", {"content": b""}, 415, "0 pictures"),
    ("/classify?classes=a", {"content": png(0)}, 400, "1 different classes"),
    ("/classify?classes=a,a", {"content": png(0)}, 400, "1 different classes"),
    ("/classify", {"content": png(0)}, 400, "no classifier of its own.*adapt"),
    ("/classify?classes=a,b&models=clip", {"content": png(0)}, 404, "student, teacher"),
    ("/classify?classes=a,b&threshold=2", {"content": png(0)}, 400, "threshold"),
    ("/classify?clases=a,b", {"content": png(0)}, 400, "did you mean 'classes'"),
    ("/classify", {"json": {"image": [text64(png(0))] * 2, "classes": ["a", "b"]}}, 413, "2 pictures"),
    ("/classify", {"json": {"image": "https://a.b/c,d", "classes": ["a", "b"]}}, 400, "data:"),
    ("/classify", {"json": {"image": "x.png", "classes": ["a", "b"]}}, 400, "no base64"),
    ("/classify", {"json": {"image": {"url": "x"}, "classes": ["a", "b"]}}, 400, "dict"),
    ("/classify", {"files": {"picture": png(0)}, "data": {"classes": "a,b"}}, 400, "'picture'.*'image'"),
    ("/classify", {"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 400, "form"),
    ("/v1/embeddings", {"json": {}}, 400, "no text and no picture"),
    ("/v1/embeddings", {"json": {"input": [1, 2]}}, 400, r"input\[0\]"),
    ("/v1/embeddings", {"json": {"input": "x", "dimensions": 7}}, 400, f"expected {DIM}"),
    ("/v1/embeddings", {"json": ["x"]}, 400, "list"),
    ("/v1/embeddings", {"json": {"input": "x" * 5000}}, 413, "5,000 characters"),
    ("/v1/embeddings", {"json": {"input": ["x"] * 300}}, 413, "300 texts"),
    ("/v1/embeddings", {"json": {"image": [text64(png(0))] * 33}}, 413, "33 pictures"),
    ("/v1/embeddings", {"content": b"{", "headers": {"content-type": "application/json"}}, 400, "no JSON"),
    ("/v1/embeddings", {"content": b'{"input": NaN}', "headers": {"content-type": "application/json"}}, 400, "NaN"),
    ("/v1/embeddings", {"content": b"[" * 99999, "headers": {"content-type": "application/json"}}, 400, "no JSON"),
    ("/search", {"json": {"text": "x"}}, 404, "mmkd index"),
    ("/nothing", {}, 404, "/docs"),
    ("/health", {}, 405, "Method"),
]


@pytest.mark.parametrize(("path", "sent", "status", "words"), WRONG)
def test_a_wrong_request_is_told_what_to_do(
    path: str, sent: dict[str, Any], status: int, words: str, client: httpx.Client
) -> None:
    error = explained(client.post(path, **sent), status)
    assert re.search(words, error["message"]), error["message"]


HEADERS = st.sampled_from(
    ["application/json", "multipart/form-data; boundary=x", "multipart/form-data", "image/png", "text/plain", ""]
)
PARTS = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
FRAGMENTS = st.sampled_from([png(0), PARTS, b"\r\n--x--", b'{"image": "', b'"}', b"\0", b"DICM", b'{"input": 1}', b"["])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    path=st.sampled_from(["/classify", "/classify?classes=a,b", "/v1/embeddings", "/search", "/search?k=x&by=%00"]),
    kind=HEADERS,
    parts=st.lists(FRAGMENTS | st.binary(max_size=40), max_size=6),
)
def test_no_body_goes_without_an_answer(client: httpx.Client, path: str, kind: str, parts: list[bytes]) -> None:
    response = client.post(path, content=b"".join(parts), headers={"content-type": kind} if kind else {})
    if response.status_code != 200:
        explained(response, response.status_code)
    assert response.status_code in (200, 400, 404, 413, 415)


def test_a_defect_is_no_traceback_and_the_next_request_is_answered(
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = Pixels()
    with running(service_of(model)) as client:
        model.encode_texts = None  # type: ignore[method-assign, assignment]
        error = explained(client.post("/v1/embeddings", json={"input": "secret words"}), 500)
        assert "NoneType" not in error["message"]
        assert client.post("/v1/embeddings", content=png(0)).status_code == 200
    logged = capsys.readouterr().err
    assert error["request_id"] in logged
    assert "TypeError" in logged


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_refused_and_the_answer_arrives(chunked: bool) -> None:
    data = b"x" * 3_000_000
    with running(service_of(Pixels(), limits=Limits(body_mb=1))) as client:
        error = explained(client.post("/v1/embeddings", content=iter([data]) if chunked else data), 413)
        assert "at most 1 MB" in error["message"]
        assert client.post("/v1/embeddings", content=png(0)).status_code == 200


def test_a_picture_of_too_many_pixels_is_refused(tmp_path: Path) -> None:
    dicom(tmp_path / "x.dcm", "1.2.3", 0)
    with running(service_of(Pixels(), limits=Limits(pixels=20))) as client:
        for data in (png(0), (tmp_path / "x.dcm").read_bytes()):
            assert "20 pixels" in explained(client.post("/v1/embeddings", content=data), 413)["message"]


def test_a_client_that_asks_too_often_is_told_when_to_come_back() -> None:
    with running(service_of(Pixels(), limits=Limits(rate=0.01, burst=2))) as client:
        assert [client.post("/v1/embeddings", json={"input": "x"}).status_code for _ in range(2)] == [200, 200]
        refused = client.post("/v1/embeddings", json={"input": "x"})
        explained(refused, 429)
        assert 90 <= int(refused.headers["retry-after"]) <= 100
        assert client.get("/health").status_code == 200


def test_a_full_queue_and_a_slow_model_are_answered() -> None:
    model = Pixels()
    with running(service_of(model, limits=Limits(queue=2, batch=1, timeout_s=1.0))) as client:
        model.gate.clear()
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(lambda _: client.post("/v1/embeddings", content=png(0)), range(6)))
        model.gate.set()
        statuses = sorted(one.status_code for one in answers)
        assert set(statuses) == {503, 504}
        refused = next(one for one in answers if one.status_code == 503)
        explained(refused, 503)
        assert refused.headers["retry-after"] == "1"
        assert client.post("/v1/embeddings", content=png(0)).status_code == 200  # what ran late takes no place


def test_keys_are_asked_for_everywhere_but_at_health() -> None:
    key = "k" * 32
    with running(service_of(Pixels()), keys=["other" * 8, key]) as client:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic ???"}, {"x-api-key": key[:-1]}):
            error = explained(client.post("/v1/embeddings", json={"input": "x"}, headers=headers), 401)
            assert KEYS in error["expected"]
            assert client.get("/docs", headers=headers).headers["www-authenticate"].startswith("Basic")
        for headers in ({"authorization": f"Bearer {key}"}, {"x-api-key": key}):
            assert client.post("/v1/embeddings", json={"input": "x"}, headers=headers).status_code == 200
        assert client.get("/docs", auth=("", key)).status_code == 200
        assert client.post("/mcp", json={}).status_code == 401
        assert client.get("/health").status_code == 200


@pytest.mark.parametrize("headers", [{"host": "evil.example"}, {"origin": "https://evil.example"}, {"host": ""}])
def test_a_page_of_another_host_may_not_ask(headers: dict[str, str], client: httpx.Client) -> None:
    explained(client.post("/v1/embeddings", json={"input": "x"}, headers=headers), 400)


def test_nothing_that_is_sent_is_written_to_a_file(monkeypatch: pytest.MonkeyPatch, client: httpx.Client) -> None:
    def rollover(file: Any) -> None:
        raise AssertionError("a body would be written to a file")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", rollover)
    data = png(5, side=1200)
    assert len(data) > 4_000_000
    assert client.post("/v1/embeddings", files=[("image", data), ("image", data)]).status_code == 200


def test_the_log_holds_neither_texts_nor_names() -> None:
    lines: list[str] = []
    with running(service_of(Pixels()), log=lines.append) as client:
        client.post("/classify?classes=secret,words", files={"image": ("Jane Doe.png", png(0))})
        client.get("/Jane%20Doe.png")
    assert len(lines) == 2
    assert not re.search("secret|words|Jane", "".join(lines))


def test_pictures_of_many_clients_go_through_the_model_together() -> None:
    model = Pixels()
    with running(service_of(model, limits=Limits(batch=8))) as client:
        model.gate.clear()
        with ThreadPoolExecutor(17) as pool:
            futures = [pool.submit(client.post, "/v1/embeddings", content=png(seed)) for seed in range(17)]
            while sum(model.batches) + _waiting(client) < 17:
                time.sleep(0.01)
            model.gate.set()
            vectors = [future.result().json()["data"][0]["embedding"] for future in futures]
    np.testing.assert_allclose(vectors, [expected(seed) for seed in range(17)], atol=1e-6)
    assert max(model.batches) == 8
    assert sum(model.batches) == 17


def _waiting(client: httpx.Client) -> float:
    found = re.search(r'mmkd_waiting_pictures{model="student"} (\S+)', client.get("/metrics").text)
    return float(found[1]) if found else 0.0


def test_metrics_count_requests_by_path_and_status() -> None:
    with running(service_of(Pixels())) as client:
        client.post("/v1/embeddings", content=png(0))
        for seed in range(3):
            client.get(f"/some/{seed}")
        text = client.get("/metrics").text
    assert 'mmkd_requests_total{path="/v1/embeddings",status="200"} 1.0' in text
    assert 'mmkd_requests_total{path="other",status="404"} 3.0' in text
    assert 'mmkd_batches_total{model="student",size="1"} 1.0' in text


def test_the_reference_names_every_path_and_loads_nothing(client: httpx.Client) -> None:
    page = client.get("/docs").text
    described = client.get("/openapi.json").json()
    assert set(described["paths"]) == {"/v1/embeddings", "/classify", "/search", "/health", "/metrics"}
    assert all(path in page for path in described["paths"])
    assert "<script" not in page
    assert not re.search(r"""(src|href)=["']https?:""", page)
    fields = described["paths"]["/classify"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert {"image", "classes", "models", "threshold", "top"} == set(fields["properties"])


def test_a_client_that_goes_away_costs_the_service_nothing() -> None:
    model = Pixels()
    with running(service_of(model)) as client:
        with pytest.raises(httpx.HTTPError):
            client.post("/v1/embeddings", content=_broken_off(), headers={"content-length": "100"})
        assert client.post("/v1/embeddings", content=png(0)).status_code == 200


def _broken_off() -> Iterator[bytes]:
    yield b"abc"
    raise httpx.WriteError("gone")


def test_a_picture_and_its_bytes_are_alike_within_the_process() -> None:
    service = service_of(Pixels())
    stream = io.BytesIO(png(6))
    np.testing.assert_array_equal(service.embed([stream.getvalue()]), service.embed([picture(6)]))
    service.close()
    assert threading.active_count() < 50
