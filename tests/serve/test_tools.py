"""The tools of assistants, asked by the protocol's own client: in the process, over HTTP and over standard input."""

import asyncio
import base64
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from mcp import Client
from running import Pixels, png, running, service_of

from mmkd.serve.engine.service import PURPOSE
from mmkd.serve.tools import make_tools


def asked(server: Any, *calls: tuple[str, dict[str, Any]]) -> list[Any]:
    async def ask() -> list[Any]:
        async with Client(server) as client:
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            assert set(tools) == {"embed", "classify", "search", "about"}
            assert all(tool.description for tool in tools.values())
            return [await client.call_tool(name, values) for name, values in calls]

    return asyncio.run(ask())


def test_the_tools_answer_as_the_service_does() -> None:
    service = service_of(Pixels())
    image = base64.b64encode(png(0)).decode()
    calls = [
        ("embed", {"texts": ["a"], "images": [image]}),
        ("classify", {"image": image, "classes": ["abc", "zz"], "threshold": 0.999}),
        ("about", {}),
    ]
    embedded, classified, about = asked(make_tools(service), *calls)
    np.testing.assert_allclose(embedded.structured_content["vectors"], service.embed([png(0)], ["a"]), atol=1e-6)
    (expected,) = service.classify(png(0), ["abc", "zz"], threshold=0.999)
    (answer,) = classified.structured_content["answers"]
    assert answer["label"] is None
    assert [score["probability"] for score in answer["scores"]] == [score.probability for score in expected.scores]
    assert about.structured_content["purpose"] == PURPOSE
    service.close()


def test_a_tool_says_what_is_wrong_and_no_more(tmp_path: Path) -> None:
    service = service_of(Pixels())
    (tmp_path / "x.png").write_bytes(png(0))
    path = str(tmp_path / "x.png")
    wrong = [
        ("search", {"text": "a"}),
        ("classify", {"image": "no picture", "classes": ["a", "b"]}),
        ("classify", {"image": path, "classes": ["a", "b"]}),
    ]
    answers = asked(make_tools(service), *wrong)
    assert all(one.is_error for one in answers)
    for one, words in zip(answers, ("mmkd index", "base64", "base64"), strict=True):
        assert words in one.content[0].text
        assert "Traceback" not in one.content[0].text
    here, missing = asked(
        make_tools(service, files=True), wrong[2], ("classify", {"image": f"{path}.gone", "classes": ["a", "b"]})
    )
    assert not here.is_error  # a file of the assistant's own machine
    assert missing.is_error
    service.close()


def test_the_same_tools_are_at_mcp() -> None:
    service = service_of(Pixels())
    with running(service, hosts=["127.0.0.1"]) as client:
        url = f"{client.base_url}/mcp".replace("//mcp", "/mcp")
        (found,) = asked(url, ("embed", {"texts": ["a"]}))
    np.testing.assert_allclose(found.structured_content["vectors"][0], Pixels().encode_texts(["a"])[0], atol=1e-6)


def test_the_tools_over_http_ask_for_the_key() -> None:
    with running(service_of(Pixels()), keys=["k" * 32]) as client:
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        assert client.post("/mcp", json=body).status_code == 401
        with pytest.raises((httpx.HTTPError, ExceptionGroup)):
            asked(f"{client.base_url}mcp")
