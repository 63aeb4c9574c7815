"""Lists of pairs that teachers were trained on: text files, one sha256, id or group of the corpus a line."""

from collections.abc import Mapping
from pathlib import Path

from mmkd.errors import ConfigError
from mmkd.folders.digests import bytes_digest


def read_list(teacher: str, path: Path) -> set[str]:
    """The lines of a list, without empty ones and those that begin with #. Raises ConfigError."""
    try:
        text = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"reliability.trained_on.{teacher}: {path} is not to be read as text ({error}); name a file with a sha256, "
            "an id or a group of the corpus on each line"
        ) from error
    lines = {line.strip() for line in text.splitlines()}
    return {line for line in lines if line and not line.startswith("#")}


def list_digests(files: Mapping[str, Path]) -> dict[str, str]:
    """Teacher -> digest of what its list says, in whatever order. Raises ConfigError."""
    return {name: bytes_digest("\n".join(sorted(read_list(name, path))).encode()) for name, path in files.items()}
