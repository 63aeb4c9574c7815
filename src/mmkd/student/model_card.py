"""The stage `export`: the student as an open_clip folder, checked before it is published, with a model card.

The card says how to load it, what it inherits and what was measured; no path of a machine.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch

from mmkd.corpus.schema import Corpus
from mmkd.errors import ModelError
from mmkd.licences import licence_class, strictest
from mmkd.markdown import escaped, line
from mmkd.randomness import Purpose, torch_generator
from mmkd.reliability.table import ReliabilityTable, counted
from mmkd.teachers.files import open_clip_folder
from mmkd.teachers.files.open_clip_folder import OpenClipModel

SHOWN = 8  # licences of a class that the card spells out
TAGS = ("clip", "open_clip", "medical", "image-text", "knowledge-distillation")
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


def model_card(facts: CardFacts) -> str:
    """In Markdown, with the Hugging Face hub's front matter: how to load, teachers, licences, data, results."""
    modalities = Counter(facts.corpus.modalities.tolist())
    data_licences = Counter(facts.corpus.column("licence"))
    licences = [teacher.licence for teacher in facts.teachers.teachers]
    strict = strictest([*licences, *data_licences])
    lines = [
        *_front_matter(facts.name, strict),
        f"# {escaped(facts.name)}",
        "",
        f"An image-text model distilled by mmkd (recipe {escaped(facts.recipe)}) from {len(licences)} teachers. "
        f"{escaped(facts.note)}",
        "",
        "```python",
        "import open_clip",
        'folder = "local-dir:FOLDER"  # the folder that this file is in',
        "model, preprocess = open_clip.create_model_from_pretrained(folder)",
        "tokenizer = open_clip.get_tokenizer(folder)",
        "```",
        "",
        "## Licence",
        "",
        f"Strictest class among teachers and data: **{strict}**. Whether weights distilled from a teacher are bound by "
        "its licence is not settled; this card states the facts.",
        "",
        "| teacher | licence of its weights | class | dimension |",
        "|---|---|---|---|",
        *[
            f"| {escaped(t.name)} | {escaped(t.licence)} | {licence_class(t.licence)} | {t.dim} |"
            for t in facts.teachers.teachers
        ],
        "",
        "## Data",
        "",
        f"{len(facts.corpus):,} image-caption pairs.",
        "",
        "| modality | pairs |",
        "|---|---|",
        *[f"| {escaped(name)} | {count:,} |" for name, count in sorted(modalities.items())],
        "",
        "| class of licence | pairs | licences of the data |",
        "|---|---|---|",
        *_grouped(data_licences),
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


def _front_matter(name: str, strict: str) -> list[str]:
    """YAML, which takes JSON's strings."""
    facts = {
        "library_name": "open_clip",
        "pipeline_tag": "zero-shot-image-classification",
        "license": "other",
        "license_name": strict.replace(" ", "-"),
        "model_name": line(name),
        "tags": list(TAGS),
    }
    return ["---", *[f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in facts.items()], "---", ""]


def _grouped(licences: Mapping[str, int]) -> list[str]:
    """A row for each class, the most frequent first; within it the most frequent licences with their pairs."""
    classes: dict[str, Counter[str]] = {}
    for licence, count in licences.items():
        classes.setdefault(licence_class(licence), Counter())[licence] += count
    rows = sorted(((found.total(), name, found) for name, found in classes.items()), reverse=True, key=lambda r: r[:2])
    return [f"| {name} | {total:,} | {_spelt(found.most_common())} |" for total, name, found in rows]


def _spelt(licences: Sequence[tuple[str, int]]) -> str:
    shown = [f"{escaped(licence) or 'none stated'} ({count:,})" for licence, count in licences[:SHOWN]]
    left = licences[SHOWN:]
    return "; ".join([*shown, *([f"{len(left)} others ({sum(count for _, count in left):,})"] if left else [])])


def _weights(reliability: ReliabilityTable) -> list[str]:
    names = [teacher.name for teacher in reliability.teachers]
    weight = {(cell.group, cell.teacher): cell.weight for cell in reliability.cells}
    rows = [
        f"| {escaped(group)} | " + " | ".join(f"{weight[group, name]:.2f}" for name in names) + " |"
        for group in reliability.group_names
    ]
    return [f"| {reliability.by} | {' | '.join(map(escaped, names))} |", "|---" * (len(names) + 1) + "|", *rows]


def _untrusted(facts: CardFacts) -> list[str]:
    group_N = facts.teachers.groups(facts.corpus)[facts.corpus.rows("train")]
    found = facts.teachers.untrusted(group_N)
    if not found:
        return []
    became = f" These pairs {facts.of_untrusted}." if facts.of_untrusted else ""
    return [f"No teacher passed the rank test on {escaped(counted(found))}.{became}", ""]


def _results(results: Sequence[Mapping[str, Any]]) -> list[str]:
    if not results:
        return ["Not evaluated in this run."]
    head = ["| model | data set | task | metric | value | 95 % interval | n |", "|---|---|---|---|---|---|---|"]
    return head + [
        f"| {escaped(r['model'])} | {escaped(r['dataset'])} | {escaped(r['task'])} | {escaped(r['metric'])} "
        f"| {r['value']:.3f} | {_interval(r['low'], r['high'])} | {r['n']} |"
        for r in results
    ]


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{low:.3f} to {high:.3f}"


def export(student: Path, facts: CardFacts, folder: Path, home: Path) -> dict[str, int]:
    """Body of the stage: copy the student, prove that plain open_clip gives its outputs, write the card.

    home: the folder's final place. Raises ModelError when the exported folder differs from the student.
    """
    model = open_clip_folder.load(student)
    open_clip_folder.save(model, folder, home)
    worst = largest_difference(model, folder)
    if worst > TOLERANCE:
        raise ModelError(f"{folder}: open_clip's outputs differ from the student's by {worst:.1e}, over {TOLERANCE:g}")
    (folder / CARD).write_text(model_card(facts), encoding="utf-8")
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
