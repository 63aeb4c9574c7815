"""Chromium driven over its DevTools protocol through a pipe, so that tests need no driver and no port."""

import base64
import itertools
import json
import os
import select
import subprocess
import time
from collections import deque
from pathlib import Path
from typing import Any

from browser import chromium

WAIT_S = 40.0
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--no-first-run",
    "--remote-debugging-pipe",
)


class Browser:
    """A process of Chromium without a window."""

    def __init__(self, profile: Path) -> None:
        read_here, write_there = os.pipe()
        read_there, write_here = os.pipe()

        command = [chromium(), *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        piped = f'exec "$@" 3<&{read_there} 4>&{write_there}'  # where Chromium reads and writes
        self._process = subprocess.Popen(
            ["bash", "-c", piped, "bash", *command], pass_fds=(read_there, write_there), stderr=subprocess.DEVNULL
        )
        os.close(read_there)
        os.close(write_there)
        self._in, self._out = read_here, write_here
        self._numbers = itertools.count(1)
        self._rest = b""
        self._answers: dict[int, dict[str, Any]] = {}
        self.events: deque[dict[str, Any]] = deque()

    def call(self, method: str, session: str = "", **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + WAIT_S
        while number not in self._answers:
            self._receive(end)
        answer = self._answers.pop(number)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result

    def page(self, width: int, theme: str) -> "Page":
        """A page of its own user, with cookies of its own."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        return Page(self, session, width, theme)

    def close(self) -> None:
        self.call("Browser.close")
        self._process.wait(20)
        os.close(self._in)
        os.close(self._out)

    def _receive(self, end: float) -> None:
        ready, _, _ = select.select([self._in], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            raise TimeoutError("Chromium does not answer")
        self._rest += os.read(self._in, 1 << 20)
        *messages, self._rest = self._rest.split(b"\0")
        for text in messages:
            message = json.loads(text)
            if "id" in message:
                self._answers[message["id"]] = message
            else:
                self.events.append(message)


class Page:
    """One tab of the browser."""

    def __init__(self, browser: Browser, session: str, width: int, theme: str) -> None:
        self._browser, self._session, self._width = browser, session, width
        for domain in ("Page", "Runtime", "Network", "DOM", "Log"):
            self.call(f"{domain}.enable")
        phone = width < 500
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=phone)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._browser.call(method, self._session, **parameters)

    def open(self, address: str) -> None:
        self.call("Page.navigate", url=address)

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(f"{script}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def wait(self, condition: str) -> Any:
        """Until the expression is true; its value."""
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            if value := self.run(condition):
                return value
            time.sleep(0.1)
        raise TimeoutError(f"never true: {condition}\n{self.run('document.body.innerText')}")

    def wait_for(self, text: str) -> None:
        self.wait(f"document.body.innerText.includes({json.dumps(text)})")

    def upload(self, files: list[Path], place: int = 0) -> None:
        """Into the visible drop zone of this number."""
        visible = "[...document.querySelectorAll('input[type=file]')].filter(i => i.parentElement.offsetWidth > 0)"
        self.wait(f"{visible}.length > {place}")
        found = self.call("Runtime.evaluate", expression=f"{visible}[{place}]")["result"]["objectId"]
        self.call("DOM.setFileInputFiles", files=[str(path) for path in files], objectId=found)

    def tab(self, title: str) -> None:
        script = f"[...document.querySelectorAll('button[role=tab]')].find(b => b.innerText.trim() == {title!r})"
        self.wait(f"!!{script}")
        self.run(f"{script}.click()")

    def press(self, title: str) -> None:
        inside = "[...document.querySelectorAll('[role=tabpanel] button')]"
        found = f"{inside}.find(b => b.innerText.trim() == {title!r} && b.offsetWidth)"
        self.wait(f"!!{found}")
        self.run(f"{found}.click()")

    def type(self, label: str, text: str) -> None:
        """Into the visible box of this label."""
        box = (
            f"[...document.querySelectorAll('label')].filter(l => l.offsetWidth && l.innerText.startsWith({label!r}))"
            ".map(l => l.querySelector('textarea, input')).find(b => b)"
        )
        self.wait(f"!!{box}")
        self.run(
            f"(box => {{ box.focus(); box.value = {json.dumps(text)};"
            f" box.dispatchEvent(new Event('input', {{bubbles: true}})); }})({box})"
        )

    def screenshot(self, path: Path) -> None:
        height = int(self.run("document.documentElement.scrollHeight"))
        clip = {"x": 0, "y": 0, "width": self._width, "height": height, "scale": 1}
        shot = self.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(shot))

    def requested(self) -> list[str]:
        """Addresses that this page has asked for; not those that its own policy kept the browser from asking."""
        mine = [event for event in self._browser.events if event.get("sessionId") == self._session]
        refused = {
            event["params"]["requestId"]
            for event in mine
            if event["method"] == "Network.loadingFailed" and event["params"].get("blockedReason") == "csp"
        }
        return [
            event["params"]["request"]["url"]
            for event in mine
            if event["method"] == "Network.requestWillBeSent" and event["params"]["requestId"] not in refused
        ]

    def errors(self) -> list[str]:
        """What the console of the browser complains of."""
        return [
            json.dumps(event["params"])
            for event in self._browser.events
            if event.get("sessionId") == self._session
            and (
                event["method"] == "Runtime.exceptionThrown"
                or (event["method"] == "Log.entryAdded" and event["params"]["entry"]["level"] == "error")
            )
        ]
