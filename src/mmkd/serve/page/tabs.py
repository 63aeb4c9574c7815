"""The tabs of the page: each builds its part and says what happens there."""

from collections.abc import Iterator

import gradio as gr

from mmkd.modalities.taxonomy import MODALITIES
from mmkd.serve.engine.limits import INVALID, RequestError
from mmkd.serve.page import views
from mmkd.serve.page.comparing import compare, compare_folder
from mmkd.serve.page.findings import classes_of
from mmkd.serve.page.parts import Parts, drop_zone, finding_box, needed, on, page_of, told, typed

ANY = "any"
GROUPS = {"pictures": "picture", "series": "series", "patients": "patient"}


def try_tab(parts: Parts) -> None:
    names = parts.names()
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            drop_zone(parts, "try", "Picture or DICOM file")
            text, chosen = finding_box(parts)
            models = gr.CheckboxGroup(names, value=names, label="Models", visible=len(names) > 1)
            threshold = gr.Slider(
                0, 1, 0.5, step=0.05, label="No answer below", info="A model whose best finding has less abstains."
            )
            places = gr.Checkbox(True, label="Show where in the picture each finding is")
            ask = gr.Button("Ask", variant="primary")
        with gr.Column(scale=3, min_width=300):
            answers, where = gr.HTML(), gr.HTML()

    def answer(
        text: str | None, chosen: str, models: list[str], threshold: float, places: bool, request: gr.Request
    ) -> Iterator[tuple[str, str]]:
        with told():
            (upload,) = needed(parts.held.get(page_of(request), "try"))
            facts = parts.service.models()
            known = parts.sets.get(chosen, {})
            classes = None if facts[0].classes and not typed(text) else classes_of(typed(text), known)
            if not models:
                raise RequestError(INVALID, "no model", "at least one", "tick one")
            found = parts.service.classify(upload.data, classes, models, threshold)
            yield views.answers(found, facts), ""
            if places and classes is not None:
                evidence = parts.service.where(upload.data, classes, models[0])
                order = [score.name for score in found[0].scores]
                yield views.answers(found, facts), views.where(evidence, order)

    on(ask)(answer, [text, chosen, models, threshold, places], [answers, where])


def search_tab(parts: Parts) -> None:
    about = parts.service.about()
    if about.rows is None:
        gr.HTML(views.note("This service has no archive. Start it with --archive ARCHIVE, which 'mmkd index' makes."))
        return
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            text = gr.Textbox(label="Words", info="Or a picture below.", placeholder="pleural effusion", max_lines=1)
            drop_zone(parts, "search", "Picture or DICOM file")
            modality = gr.Dropdown([ANY, *MODALITIES], value=ANY, label="Modality")
            patient = gr.Textbox(label="Leave out this patient", info="As the archive names patients.", max_lines=1)
            by = gr.Radio(list(GROUPS), value="pictures", label="Show", info="Of each series or patient, the best one.")
            count = gr.Slider(1, min(60, parts.service.limits.hits), 12, step=1, label="How many")
            go = gr.Button("Search", variant="primary")
        with gr.Column(scale=3, min_width=300):
            hits = gr.HTML()

    def search(
        text: str | None, modality: str, patient: str | None, by: str, count: float, request: gr.Request
    ) -> tuple[str]:
        with told():
            uploads = parts.held.get(page_of(request), "search")
            image, words = uploads[0].data if uploads else None, typed(text)
            if words and image:
                raise RequestError(INVALID, "words and a picture", "one of both", "remove the picture or the words")
            if not words and not image:
                raise RequestError(INVALID, "neither words nor a picture", "one of both", "type words or choose one")
            where = "" if modality == ANY else f"modality = '{modality}'"
            found = parts.service.search(words, image, int(count), where, typed(patient), GROUPS[by])
            return (views.hits(found, about.models[0].name),)

    on(go, text, patient)(search, [text, modality, patient, by, count], [hits])


def compare_tab(parts: Parts) -> None:
    names = parts.names()
    if len(names) < 2:
        gr.HTML(views.note("This service has one model. Start it with --teachers MODEL to compare two."))
        return
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            folder = parts.service.folder
            drop_zone(parts, "compare", f"Pictures, at most {parts.service.limits.pictures}", several=True)
            label = f"Take the pictures of the folder {'' if folder is None else folder.name} instead"
            whole = gr.Checkbox(folder is not None, label=label, visible=folder is not None)
            text, chosen = finding_box(parts)
            first = gr.Dropdown(names, value=names[0], label="First model")
            second = gr.Dropdown(names, value=names[1], label="Second model")
            go = gr.Button("Compare", variant="primary")
        with gr.Column(scale=3, min_width=300):
            table = gr.HTML()

    def both(text: str | None, chosen: str, first: str, second: str, whole: bool, request: gr.Request) -> tuple[str]:
        with told():
            of_folder = folder if whole else None
            found = [] if of_folder is not None else needed(parts.held.get(page_of(request), "compare"))
            if first == second:
                raise RequestError(INVALID, f"{first} twice", "two models", "choose another one")
            classes, models = classes_of(typed(text), parts.sets.get(chosen, {})), (first, second)
            if of_folder is None:
                rows, calibrated = compare(parts.service, found, classes, models)
                return (views.compared(rows, models, calibrated),)
            rows, calibrated, said = compare_folder(parts.service, of_folder, classes, models)
            return (views.compared(rows, models, calibrated, said),)

    on(go)(both, [text, chosen, first, second, whole], [table])


def about_tab(parts: Parts) -> None:
    gr.HTML(views.about(parts.service.about()))
    for model in parts.service.models():
        with gr.Accordion(f"Model card of {model.name}", open=model.role == "student"):
            gr.Markdown(views.card(model))
