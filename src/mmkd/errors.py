"""Errors the user can mend. The command line prints their message and exits with 2; anything else is our defect."""


class MmkdError(Exception):
    """What was found, what was expected, what to do: in that order, in one or a few sentences."""


class ConfigError(MmkdError):
    """A recipe, card or command-line value is wrong."""


class DataError(MmkdError):
    """A file, folder or record is wrong, missing or does not belong to the others."""


class ModelError(MmkdError):
    """A teacher or student cannot be built or its weights cannot be loaded."""


class TrainingError(MmkdError):
    """Training cannot go on; the last good checkpoint stays."""
