"""Who may ask, and how often."""

import base64
import binascii
import hashlib
import hmac
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

from mmkd.errors import ConfigError
from mmkd.serve.engine.limits import TOO_MANY, UNAUTHORISED, Limits, RequestError

KEYS = "MMKD_API_KEYS"
SHORTEST = 16  # characters of a key
MOST_CLIENTS = 10_000  # whose rates are known at once
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def keys_of(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Of the variable KEYS, parted by commas. Raises ConfigError for keys that could be guessed."""
    keys = [key.strip() for key in environment.get(KEYS, "").split(",") if key.strip()]
    if short := [len(key) for key in keys if len(key) < SHORTEST or not key.isascii()]:
        raise ConfigError(
            f"{KEYS} has a key of {min(short)} characters; expected ASCII and {SHORTEST} at least. One is made by: "
            'python -c "import secrets; print(secrets.token_urlsafe(32))"'
        )
    return keys


def check_exposure(host: str, keys: Sequence[str], no_auth: bool) -> None:
    """Raises ConfigError for a service that others reach and anybody may use, unless it was asked for."""
    if host not in LOOPBACK and not keys and not no_auth:
        raise ConfigError(
            f"--host {host} can be reached from other machines, and {KEYS} is not set: anybody could use the models "
            f"and see the archive. Set {KEYS}, or leave --host out; --no-auth serves it to everybody all the same"
        )


class Access:
    """Keys and rates. Clients are told apart by their key, without keys by their address."""

    def __init__(self, keys: Sequence[str], limits: Limits, now: Callable[[], float] = time.monotonic) -> None:
        self._digests = [_digest(key) for key in keys]
        self._limits, self._now = limits, now
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    @property
    def is_open(self) -> bool:
        return not self._digests

    def client(self, headers: Mapping[str, str], address: str) -> str:
        """Who asks. Raises RequestError without a valid key where keys are asked for."""
        if self.is_open:
            return address
        digest = _digest(_key(headers))
        if not any([hmac.compare_digest(digest, own) for own in self._digests]):  # a list: all of them are compared
            found = "no valid API key"
            cure = "send the header 'Authorization: Bearer KEY'; whoever runs the service has the keys"
            raise RequestError(UNAUTHORISED, found, f"one of those in {KEYS}", cure)
        return digest.hex()

    def check_rate(self, client: str) -> None:
        """One token of the client's bucket. Raises RequestError where it is empty."""
        rate, burst = self._limits.rate, float(self._limits.burst)
        if not rate:
            return
        now = self._now()
        tokens, then = self._buckets.pop(client, (burst, now))
        tokens = min(burst, tokens + (now - then) * rate)
        is_allowed = tokens >= 1
        self._buckets[client] = (tokens - is_allowed, now)
        while len(self._buckets) > MOST_CLIENTS:
            self._buckets.popitem(last=False)
        if not is_allowed:
            found = "too many requests of this client"
            raise RequestError(
                TOO_MANY, found, f"at most {rate:g} a second", "wait, then ask again", (1 - tokens) / rate
            )


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def _key(headers: Mapping[str, str]) -> str:
    """Of `Authorization: Bearer KEY`, `X-API-Key: KEY`, or the password that a browser asks for."""
    kind, _, value = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return value.strip()
    if kind.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2]
        except (binascii.Error, ValueError):
            return ""
    return headers.get("x-api-key", "")
