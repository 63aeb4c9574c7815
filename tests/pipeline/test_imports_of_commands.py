"""What each command imports: what it needs, and no more. Commands that load no model import no torch."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

NUMBERS, PICTURES, TABLE, HUB = {"numpy", "pyarrow"}, {"PIL"}, {"rich"}, {"huggingface_hub"}
CORPUS = {"datasets", "fsspec", "nibabel", "pydicom", "scipy"}  # `datasets` brings the others with its features
MODELS = {"torch", "open_clip", "timm", "transformers", "tokenizers", "sympy", *HUB, *PICTURES, *NUMBERS}
HEAVY = sorted(
    {*MODELS, *TABLE, *CORPUS, "sklearn", "plotly", "lancedb", "faiss", "onnxruntime", "onnx", "fastapi"}
    | {"starlette", "uvicorn", "mcp", "h5py", "openslide", "tifffile", "matplotlib"}
)
SCRIPT = """
import json, sys
from mmkd.cli import app
asked, heavy = json.loads(sys.argv[1])
for words in asked:
    try:
        app(words)
        code = 0
    except SystemExit as ended:
        code = ended.code or 0
    found = sorted(set(heavy) & set(sys.modules))
    print("found " + json.dumps([code, found]), file=sys.stderr, flush=True)
"""


@dataclass(frozen=True)
class Command:
    """words: RECIPE and RUN stand for a finished run. needs: the heavy modules that it may import."""

    words: str
    needs: frozenset[str] = frozenset()


def command(words: str, *needs: set[str]) -> Command:
    return Command(words, frozenset().union(*needs))


LIGHT = [
    command("--help"),
    command("run --help"),
    command("serve --help"),
    command("embed --help"),
    command("verify RUN"),
    command("runs RUN", TABLE),
    command("teachers list", TABLE, HUB),
    command("corpus stats RUN/corpus", TABLE, NUMBERS),
    command("curate RECIPE --out RUN", NUMBERS, PICTURES),
    command("extract RECIPE --out RUN", NUMBERS, PICTURES),
    command("reliability RECIPE --out RUN", NUMBERS, PICTURES),
    command("pretrain RECIPE --out RUN", NUMBERS, PICTURES),
    command("distill RECIPE --out RUN", NUMBERS, PICTURES),
    command("evaluate RECIPE --out RUN", NUMBERS, PICTURES),
    command("evaluate RECIPE --out RUN --dry-run", NUMBERS, PICTURES),
    command("report RECIPE --out RUN", NUMBERS, PICTURES),
    command("export RECIPE --out RUN", NUMBERS, PICTURES),
    command("run RECIPE --out RUN", NUMBERS, PICTURES),
    command("run RECIPE --out RUN --dry-run", NUMBERS, PICTURES),
    command("check RECIPE --out RUN", NUMBERS, PICTURES),
    command("datasets list", TABLE, NUMBERS, PICTURES),
    command("datasets check --card RUN/world/classify/ct/card.toml", TABLE, NUMBERS, PICTURES),
    command("corpus show RUN/corpus corpus_00000", TABLE, NUMBERS, PICTURES),
    command("corpus sample RUN/corpus", TABLE, NUMBERS, PICTURES),
    command("features check RUN", TABLE, NUMBERS, PICTURES, CORPUS),
]
"""They load no model. In the order of what they need, since all of them run in one process."""
LOADING = [command("plan RECIPE --out RUN --tflops 1", TABLE, MODELS, CORPUS)]
"""They count a model without its weights, for which torch has to be there."""


def found(commands: list[Command], recipe: Path) -> list[tuple[int, set[str]]]:
    """The exit code of each command, and the heavy modules that are there after it, each of them in its turn."""
    asked = [
        one.words.replace("RECIPE", str(recipe)).replace("RUN", str(recipe.parent / "run")).split() for one in commands
    ]
    given = json.dumps([asked, HEAVY])
    done = subprocess.run([sys.executable, "-c", SCRIPT, given], capture_output=True, text=True)
    lines = [line.removeprefix("found ") for line in done.stderr.splitlines() if line.startswith("found ")]
    assert len(lines) == len(commands), done.stderr[-3000:]
    return [(code, set(modules)) for code, modules in map(json.loads, lines)]


def test_commands_that_load_no_model_import_what_they_need_and_no_torch(finished_run: tuple[Path, Any]) -> None:
    recipe, _ = finished_run
    allowed: set[str] = set()
    for one, (code, modules) in zip(LIGHT, found(LIGHT, recipe), strict=True):
        allowed |= one.needs
        assert code == 0, one.words
        assert modules <= allowed, f"mmkd {one.words} imports {', '.join(sorted(modules - allowed))}"
    assert "torch" not in allowed


@pytest.mark.slow
def test_commands_that_count_a_model_import_torch_and_no_more(finished_run: tuple[Path, Any]) -> None:
    recipe, _ = finished_run
    for one, (code, modules) in zip(LOADING, found(LOADING, recipe), strict=True):
        assert code == 0, one.words
        assert "torch" in modules, "torch would not be seen where it may not be"
        assert modules <= one.needs, f"mmkd {one.words} imports {', '.join(sorted(modules - one.needs))}"
