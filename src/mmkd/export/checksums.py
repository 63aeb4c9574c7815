"""`SHA256SUMS`, which `sha256sum -c` reads, and a signature over the folder that `model-signing` verifies."""

from pathlib import Path

from mmkd.errors import ConfigError
from mmkd.folders.atomic import atomic_file
from mmkd.folders.digests import file_digest
from mmkd.folders.stage import OWN_FILES
from mmkd.folders.sums import SUMS

SIGNATURE = "model.sig"


def write_sums(folder: Path) -> None:
    """Of every file of the model; what a run keeps of itself in the folder is not among them."""
    own = {SUMS, SIGNATURE, *OWN_FILES}
    files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and p.name not in own)
    with atomic_file(folder / SUMS) as stream:
        stream.write("".join(f"{file_digest(folder / name)}  {name}\n" for name in files).encode())


def sign(folder: Path, key: Path) -> None:
    """Raises ConfigError for a key that is none. What a run keeps of itself in the folder is not signed."""
    try:
        from model_signing import hashing, signing
    except ImportError as error:
        raise ConfigError(f"signatures are made by model-signing ({error}): pip install 'mmkd[sign]'") from error
    own = [Path(name) for name in (SIGNATURE, *OWN_FILES)]  # relative: the folder will be moved
    try:
        config = signing.Config().use_elliptic_key_signer(private_key=key)
        config.set_hashing_config(hashing.Config().set_ignored_paths(paths=own))
        config.sign(folder, folder / SIGNATURE)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            f"export.sign {key}: not a private key that signs ({error}); make one with: "
            "openssl ecparam -name prime256v1 -genkey -noout -out key.pem"
        ) from error
