"""The stage `export`: the student as an open_clip folder with a model card, checked before it is published."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch

from mmkd.corpus.schema import Corpus
from mmkd.errors import ModelError
from mmkd.licences import strictest
from mmkd.randomness import Purpose, torch_generator
from mmkd.reliability.table import ReliabilityTable, counted
from mmkd.teachers.files import open_clip_folder
from mmkd.teachers.files.open_clip_folder import OpenClipModel

TOLERANCE = 1e-5
CARD = "README.md"


@dataclass(frozen=True)
class CardFacts:
    """What the model card says. results: rows of `results.jsonl` of the student and of `best_teacher`.

    of_untrusted: what became of pairs on which no teacher passed the rank test, in words.
    """

    name: str
    note: str
    recipe: str
    teachers: ReliabilityTable
    corpus: Corpus
    results: Sequence[Mapping[str, Any]]
    of_untrusted: str = ""


def export(student: Path, facts: CardFacts, folder: Path, home: Path) -> dict[str, int]:
    """Body of the stage: copy the student, prove that plain open_clip gives its outputs, write the card.

    home: the folder's final place. Raises ModelError when the exported folder differs from the student.
    """
    model = open_clip_folder.load(student)
    open_clip_folder.save(model, folder, home)
    worst = largest_difference(model, folder)
    if worst > TOLERANCE:
        raise ModelError(f"{folder}: open_clip's outputs differ from the student's by {worst:.1e}, over {TOLERANCE:g}")
    (folder / CARD).write_text(model_card(facts, home), encoding="utf-8")
    return {"parameters": sum(p.numel() for p in model.network.parameters())}


@torch.inference_mode()
def largest_difference(model: OpenClipModel, folder: Path) -> float:
    """Largest absolute difference of unit embeddings between the model and the folder opened by plain open_clip."""
    name = f"local-dir:{folder}"
    overrides = open_clip_folder.wherever_it_lies(model.config, folder)  # its config names its final place already
    network, transform = open_clip.create_model_from_pretrained(name, **overrides)
    tokens_BL = open_clip.get_tokenizer(name)(["a chest x-ray", "no finding", ""])
    size = network.visual.image_size
    side = size if isinstance(size, int) else size[0]
    image_BCHW = torch.rand(2, 3, side, side, generator=torch_generator(0, Purpose.EXPORT_CHECK))
    network.eval()
    model.network.eval()
    same_tokens = torch.equal(tokens_BL, model.tokenizer(["a chest x-ray", "no finding", ""]))
    if not same_tokens or repr(transform) != repr(model.transform):
        return float("inf")
    pairs = zip(network(image_BCHW, tokens_BL)[:2], model.network(image_BCHW, tokens_BL)[:2], strict=True)
    pairs_differ = [float((ours - theirs).abs().max()) for ours, theirs in pairs]
    return max(pairs_differ)


def model_card(facts: CardFacts, home: Path) -> str:
    """The card in Markdown: how to load, teachers, licences, data, results."""
    modalities = Counter(facts.corpus.modalities.tolist())
    data_licences = Counter(facts.corpus.column("licence"))
    licences = [teacher.licence for teacher in facts.teachers.teachers]
    strict = strictest([*licences, *data_licences])
    lines = [
        f"# {facts.name}",
        "",
        f"An image-text model distilled by mmkd (recipe `{facts.recipe}`) from {len(licences)} teachers. {facts.note}",
        "",
        "```python",
        "import open_clip",
        f'model, preprocess = open_clip.create_model_from_pretrained("local-dir:{home}")',
        f'tokenizer = open_clip.get_tokenizer("local-dir:{home}")',
        "```",
        "",
        "## Licence",
        "",
        f"Strictest class among teachers and data: **{strict}**. Whether weights distilled from a teacher are bound by "
        "its licence is not settled; this card states the facts.",
        "",
        "| teacher | licence of its weights | dimension |",
        "|---|---|---|",
        *[f"| {_cell(t.name)} | {_cell(t.licence)} | {t.dim} |" for t in facts.teachers.teachers],
        "",
        "## Data",
        "",
        f"{len(facts.corpus):,} image-caption pairs.",
        "",
        "| modality | pairs |",
        "|---|---|",
        *[f"| {_cell(name)} | {count:,} |" for name, count in sorted(modalities.items())],
        "",
        "| licence of the data | pairs |",
        "|---|---|",
        *[f"| {_cell(name)} | {count:,} |" for name, count in data_licences.most_common()],
        "",
        "## Weights of the teachers",
        "",
        *_weights(facts.teachers),
        "",
        *_untrusted(facts),
        "## Results",
        "",
        *_results(facts.results),
        "",
        "Research software: not a medical device, not for clinical decisions.",
    ]
    return "\n".join(lines) + "\n"


def _weights(reliability: ReliabilityTable) -> list[str]:
    names = [teacher.name for teacher in reliability.teachers]
    weight = {(cell.group, cell.teacher): cell.weight for cell in reliability.cells}
    rows = [
        f"| {_cell(group)} | " + " | ".join(f"{weight[group, name]:.2f}" for name in names) + " |"
        for group in reliability.group_names
    ]
    return [f"| {reliability.by} | {' | '.join(map(_cell, names))} |", "|---" * (len(names) + 1) + "|", *rows]


def _untrusted(facts: CardFacts) -> list[str]:
    group_N = facts.teachers.groups(facts.corpus)[facts.corpus.rows("train")]
    found = facts.teachers.untrusted(group_N)
    if not found:
        return []
    became = f" These pairs {facts.of_untrusted}." if facts.of_untrusted else ""
    return [f"No teacher passed the rank test on {_cell(counted(found))}.{became}", ""]


def _results(results: Sequence[Mapping[str, Any]]) -> list[str]:
    if not results:
        return ["Not evaluated in this run."]
    head = ["| model | data set | task | metric | value | 95 % interval | n |", "|---|---|---|---|---|---|---|"]
    return head + [
        f"| {_cell(r['model'])} | {_cell(r['dataset'])} | {r['task']} | {r['metric']} | {r['value']:.3f} "
        f"| {_interval(r['low'], r['high'])} | {r['n']} |"
        for r in results
    ]


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{low:.3f} to {high:.3f}"


def _cell(text: str) -> str:
    """Text from data inside a Markdown table."""
    return text.replace("|", "\\|").replace("\n", " ")
