"""The page inside the service's own process. Nothing of it comes from another host, and no upload stays on the disk."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmkd.errors import ConfigError
from mmkd.report.plot import COLOURS
from mmkd.serve.engine.service import Service
from mmkd.serve.page import views

if TYPE_CHECKING:
    import gradio as gr
    from fastapi import FastAPI, Response

PATH = "/page"
FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
MONOSPACED = ("ui-monospace", "Menlo", "Consolas", "monospace")
# Gradio's scripts are partly inline and build functions from text; where they come from is what is held here
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'self'"
)
LEFT_S = 60  # an upload that no answer took is deleted after so long


def mount_page(app: "FastAPI", service: Service) -> "FastAPI":
    """The app with the page under PATH; `state.end_page` ends what every open page keeps connected. Raises ConfigError
    where Gradio is missing.

    Sets two environment variables of this process: Gradio takes its folder of uploads from there, and its telemetry.
    """
    folder = Path(tempfile.mkdtemp(prefix="mmkd-page-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ |= {"GRADIO_TEMP_DIR": str(folder), "GRADIO_ANALYTICS_ENABLED": "False"}
    try:
        import gradio as gr
    except ImportError as error:
        raise ConfigError("the page needs Gradio; install mmkd with its extra [serve]") from error
    gr.mount_gradio_app(
        app,
        page(service, folder),
        PATH,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        show_error=False,
        max_file_size=int(service.limits.body_mb * 1_000_000),
        theme=_theme(),
        css=views.style(),
        app_kwargs={"docs_url": None, "redoc_url": None, "openapi_url": None},
    )
    mounted = app.routes[-1].app
    mounted.add_middleware(_Policy)
    app.state.end_page = mounted.stop_event.set
    app.add_api_route("/favicon.ico", _no_icon, include_in_schema=False, response_model=None)
    return app


def _no_icon() -> "Response":
    """Browsers ask for it, and log an error where there is none."""
    from fastapi import Response

    return Response(status_code=204)


def page(service: Service, folder: Path) -> "gr.Blocks":
    import gradio as gr

    from mmkd.serve.page.parts import Parts, page_of
    from mmkd.serve.page.tabs import about_tab, compare_tab, search_tab, try_tab

    parts, about = Parts(service, folder), service.about()

    def forget(request: gr.Request) -> None:
        parts.held.drop(page_of(request))

    title = f"{about.models[0].name} - mmkd"
    with gr.Blocks(title=title, analytics_enabled=False, fill_width=True, delete_cache=(15, LEFT_S)) as made:
        gr.HTML(views.head(about))
        for title, tab in {"Try": try_tab, "Search": search_tab, "Compare": compare_tab, "About": about_tab}.items():
            with gr.Tab(title):
                tab(parts)
        made.unload(forget)
    for block in made.blocks.values():
        _without_downloads(block)
    made.queue(max_size=service.limits.queue, default_concurrency_limit=8)
    return made


def _without_downloads(block: Any) -> None:
    """Gradio fetches what a client names by an address instead of sending it; nothing is fetched here."""
    import gradio as gr

    kept = block.async_move_resource_to_block_cache

    async def moved(place: str | None) -> Any:
        if place and "://" in place:
            raise gr.Error("Addresses are not fetched: send the file itself", print_exception=False)
        return await kept(place)

    block.async_move_resource_to_block_cache = moved


def _theme() -> "gr.themes.Base":
    """The colours of the reports; white on OURS and OURS on white have a contrast of 5.5."""
    import gradio as gr

    ours, _ = COLOURS["ours"]
    theme = gr.themes.Base(primary_hue="teal", neutral_hue="slate", font=FONTS, font_mono=MONOSPACED)
    return theme.set(
        color_accent=ours,
        button_primary_background_fill=ours,
        button_primary_background_fill_hover=COLOURS["heat"][1],
        button_primary_background_fill_dark=ours,
        button_primary_text_color="#ffffff",
        button_primary_text_color_dark="#ffffff",
        body_text_color_subdued=COLOURS["muted"][0],
        body_text_color_subdued_dark=COLOURS["muted"][1],
        block_info_text_color=COLOURS["muted"][0],
        block_info_text_color_dark=COLOURS["muted"][1],
        block_title_text_color=COLOURS["ink"][0],
        block_title_text_color_dark=COLOURS["ink"][1],
        block_label_text_color=COLOURS["ink"][0],
        block_label_text_color_dark=COLOURS["ink"][1],
        body_background_fill=COLOURS["paper"][0],
        body_background_fill_dark=COLOURS["paper"][1],
    )


class _Policy:
    """Tells the browser to ask no other host for anything."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def sent(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    (b"content-security-policy", POLICY.encode()),
                    (b"referrer-policy", b"no-referrer"),
                ]
            await send(message)

        await self._app(scope, receive, sent)
