"""The three requests, as JSON, as forms and as query parameters."""

import json
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from mmkd.settings import Settings

MANY = "One, or a list; base64 or a data URL in JSON, files in a form, the body itself otherwise."


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _names(value: Any) -> Any:
    """`a,b`, `["a,b", "c"]` or JSON: as forms and addresses write lists."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"expected JSON or names parted by commas, found neither ({error})") from None
    if isinstance(value, str):
        return [name.strip() for name in value.split(",") if name.strip()]
    return value


Texts = Annotated[list[str], BeforeValidator(_listed)]
Names = Annotated[list[str], BeforeValidator(_names)]
Classes = Annotated[dict[str, Texts] | list[str] | None, BeforeValidator(_names)]


class Embeddings(Settings):
    """OpenAI's form, and pictures. Vectors have length 1; those of the pictures come first."""

    model: str = Field("", description="A name of /health; the student where it is empty.")
    input: Texts = Field([], description="One text, or a list.")
    encoding_format: Literal["float", "base64"] = Field("float", description="base64: of little-endian float32.")
    dimensions: int | None = Field(None, description="Only the model's own.")
    user: str = Field("", description="Ignored.")


class Classify(Settings):
    """A picture, and what it may show."""

    classes: Classes = Field(
        None, description="Names, or an object of names and prompts. Without: the model's own classifier."
    )
    models: Names = Field([], description="Names of /health, or all. Without: the student.")
    threshold: float = Field(0.0, ge=0, le=1, description="Below this probability the model abstains.")
    top: int | None = Field(None, ge=1, description="So many classes at most, the most probable first.")


class Search(Settings):
    """The archive, by a text or by a picture."""

    text: str = ""
    k: int = Field(10, ge=1, description="How many hits.")
    where: str = Field("", description="A condition in SQL: modality = 'ct' AND caption LIKE '%effusion%'")
    not_same_patient: str = Field("", description="Pictures of this patient are left out.")
    by: Literal["picture", "series", "patient"] = Field("picture", description="What a hit stands for.")
