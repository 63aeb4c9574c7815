"""Parts of a source that share no group."""

from pydantic import Field, NonNegativeInt, model_validator

from mmkd.folders.digests import hash64
from mmkd.settings import Settings


class PartOfGroups(Settings):
    """Some of `of` parts into which a source is cut by its groups: sources of one folder with other `take` share none.

    of: number of parts, at least 2. take: the numbers of the parts that are read, counted from 0. A part has 1/of of
    the groups in expectation.
    """

    of: int = Field(ge=2)
    take: list[NonNegativeInt] = Field(min_length=1)

    @model_validator(mode="after")
    def _parts_that_exist(self) -> "PartOfGroups":
        if unknown := sorted({number for number in self.take if number >= self.of}):
            raise ValueError(f"take names {unknown}, but {self.of} parts are counted from 0 to {self.of - 1}")
        if len(set(self.take)) < len(self.take):
            raise ValueError(f"take = {self.take} names a part twice")
        return self

    def has(self, group: str) -> bool:
        """Whether the group is in one of the parts taken. A hash of its name decides, whatever else the source has, so
        a patient is in the same part of every source, and adding files moves nobody."""
        return hash64(f"part\0{group}") % self.of in self.take
