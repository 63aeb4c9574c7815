"""What the tabs of the page are made of."""

import html
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr

from mmkd.errors import MmkdError
from mmkd.serve.engine.answers import Sets
from mmkd.serve.engine.limits import INVALID, RequestError
from mmkd.serve.engine.service import Service
from mmkd.serve.page import views
from mmkd.serve.page.held import Held
from mmkd.serve.page.uploads import Upload, readable, taken

NO_SET = "none"
OPTIONS: Mapping[str, Any] = {"api_visibility": "private"}


@dataclass(frozen=True)
class Parts:
    """folder: where uploads arrive. held: those of every open page."""

    service: Service
    folder: Path
    held: Held = field(default_factory=Held)

    @property
    def sets(self) -> Sets:
        """Findings that are suggested: of the data sets that the student was evaluated on."""
        return self.service.models()[0].sets

    def names(self) -> list[str]:
        return [model.name for model in self.service.models()]


@contextmanager
def told() -> Iterator[None]:
    """What a user can mend is said; of what is ours, only that it is in the log."""
    try:
        yield
    except MmkdError as error:
        raise refused(str(error)) from None
    except gr.Error:
        raise
    except Exception:
        logging.getLogger("mmkd.serve").exception("the page could not answer")
        raise refused("the service failed; its log says why. Try again, or tell who runs it") from None


def refused(message: str) -> gr.Error:
    shown = html.escape(message[:1].upper() + message[1:])
    return gr.Error(shown, duration=None, title="Not answered", print_exception=False)


def drop_zone(parts: Parts, place: str, label: str, several: bool = False) -> None:
    """Where files are dropped. `parts.held` has the pictures under this place's name; the files are deleted at once."""
    zone = gr.File(label=label, file_count="multiple" if several else "single", height=150)
    preview = gr.HTML()
    most = parts.service.limits.pictures

    def read(sent: Any, request: gr.Request) -> tuple[None, str]:
        parts.held.drop(page_of(request), place)
        with told():
            files = taken(sent if isinstance(sent, list) else [sent] if sent else [], parts.folder)
            if len(files) > most:
                raise RequestError(INVALID, f"{len(files)} pictures", f"at most {most}", "choose fewer")
            uploads, wrong = readable(files, parts.service, views.THUMBNAIL_PX if several else views.SHOWN_PX)
            if wrong and not uploads:
                raise RequestError(INVALID, wrong[0], "a picture", "choose another file")
            parts.held.put(page_of(request), place, uploads)
            return None, views.pictures([one.shown for one in uploads], wrong)

    def remove(request: gr.Request) -> tuple[None, str]:
        parts.held.drop(page_of(request), place)
        return None, ""

    # without Gradio's own preprocessing, which leaves an empty file behind for every upload
    event = zone.upload(read, zone, [zone, preview], show_progress="minimal", preprocess=False, **OPTIONS)
    event.failure(lambda: (None, ""), None, [zone, preview], **OPTIONS)
    button = gr.Button("Remove the pictures" if several else "Remove the picture", size="sm", variant="secondary")
    button.click(remove, None, [zone, preview], show_progress="hidden", **OPTIONS)


def page_of(request: gr.Request) -> str:
    """Which open page asks: a name that each browser tab draws for itself."""
    return str(request.session_hash)


def finding_box(parts: Parts) -> tuple[gr.Textbox, gr.Dropdown]:
    """Where findings are typed, and the data sets whose findings are suggested."""
    own = parts.service.models()[0].classes
    hint = f" Leave it empty to ask the model's own classifier of {len(own)} classes." if own else ""
    box = gr.Textbox(
        label="Findings",
        info=f"One a line, two or more.{hint}",
        lines=4,
        max_lines=12,
        placeholder="pneumothorax\npleural effusion\nno acute finding",
    )
    chosen = gr.Dropdown(
        [NO_SET, *parts.sets],
        value=NO_SET,
        label="Take the findings of a data set",
        info="With its prompts. Only for these very findings can probabilities be calibrated.",
        visible=bool(parts.sets),
    )

    def fill(name: str) -> str:
        return "\n".join(parts.sets.get(name, {}))

    chosen.input(fill, chosen, box, show_progress="hidden", **OPTIONS)
    return box, chosen


def typed(text: str | None) -> str:
    """A box that nobody touched sends None."""
    return (text or "").strip()


def needed(uploads: list[Upload]) -> list[Upload]:
    if not uploads:
        cure = "choose one above; a page that was left alone for ten minutes forgets its pictures"
        raise RequestError(INVALID, "no picture", "a JPEG, PNG, WebP, BMP, TIFF, GIF or DICOM file", cure)
    return uploads


def on(button: gr.Button, *boxes: gr.Textbox) -> Callable[..., Any]:
    """What happens at a click, and when Enter is pressed in one of the boxes."""

    def bind(work: Callable[..., Any], inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        gr.on([button.click, *(box.submit for box in boxes)], work, inputs, outputs, **OPTIONS)

    return bind
