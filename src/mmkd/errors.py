"""Errors the user can mend. The command line prints their message and exits with 2; anything else is our defect."""

import errno

CHOOSE = "allow it, or choose another --out"
OF_THE_MACHINE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "make room"),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM, errno.EEXIST, errno.ENOTDIR), CHOOSE),
    errno.EFBIG: "allow larger files (ulimit -f)",
    errno.EMFILE: "allow more open files (ulimit -n)",
    errno.EIO: "see whether the disk is whole",
}
"""What an operating system refuses that the user can mend, and how."""


def mended_by(error: OSError) -> str | None:
    """What was refused and what to do; None where it is a defect of ours."""
    cure = OF_THE_MACHINE.get(error.errno or 0)
    where = f"{error.filename}: " if error.filename else ""
    go_on = "what is finished is kept, and the same command goes on from there"
    return f"{where}{error.strerror}; {cure}: {go_on}" if cure else None


class MmkdError(Exception):
    """What was found, what was expected, what to do: in that order, in one or a few sentences."""


class ConfigError(MmkdError):
    """A recipe, card or command-line value is wrong."""


class StaleError(ConfigError):
    """A folder was made from other settings or inputs than are asked for now. changes: each as `key (was, now)`."""

    def __init__(self, where: str, changes: list[str]) -> None:
        more = f" and {len(changes) - 3} more" if len(changes) > 3 else ""
        self.what = f"{where} was made from other {', '.join(changes[:3])}{more}"
        super().__init__(f"{self.what}; nothing was changed. Choose another --out, or pass --force to make it anew")


class DataError(MmkdError):
    """A file, folder or record is wrong, missing or does not belong to the others."""


class ModelError(MmkdError):
    """A teacher or student cannot be built or its weights cannot be loaded."""


class TrainingError(MmkdError):
    """Training cannot go on; the last good checkpoint stays."""
