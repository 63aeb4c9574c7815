"""The model card of an export: how to load it, what it inherits and what was measured; no path of a machine."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmkd.corpus.schema import Corpus
from mmkd.export.export import Exported
from mmkd.export.formats import FORMATS, RESIZED
from mmkd.inference.precision import INT8
from mmkd.licences import licence_class, strictest
from mmkd.markdown import escaped, line
from mmkd.reliability.table import ReliabilityTable, counted

SHOWN = 8  # licences of a class that the card spells out
TAGS = ("clip", "medical", "image-text", "knowledge-distillation")
IMAGE_TOWER = [
    "```python",
    "from transformers import AutoImageProcessor, CLIPVisionModelWithProjection",
    'model = CLIPVisionModelWithProjection.from_pretrained("FOLDER")  # the image tower only',
    'processor = AutoImageProcessor.from_pretrained("FOLDER")',
    "```",
    "",
]
WARNING = "Research software: not a medical device, not for clinical decisions."


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


def model_card(facts: CardFacts, exported: Exported) -> str:
    """In Markdown, with the Hugging Face hub's front matter: how to load, teachers, licences, data, results."""
    modalities = Counter(facts.corpus.modalities.tolist())
    data_licences = Counter(facts.corpus.column("licence"))
    licences = [teacher.licence for teacher in facts.teachers.teachers]
    strict = strictest([*licences, *data_licences])
    without = int(np.count_nonzero(~facts.corpus.captioned))
    counted_as = "pictures" if without else "pairs"
    lines = [
        *_front_matter(facts.name, strict, exported),
        f"# {escaped(facts.name)}",
        "",
        f"An image-text model distilled by mmkd (recipe {escaped(facts.recipe)}) from {len(licences)} teachers. "
        f"{escaped(facts.note)}",
        "",
        *_use(exported),
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
        _counted_pairs(without, len(facts.corpus)),
        "",
        f"| modality | {counted_as} |",
        "|---|---|",
        *[f"| {escaped(name)} | {count:,} |" for name, count in sorted(modalities.items())],
        "",
        f"| class of licence | {counted_as} | licences of the data |",
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
        *_checked(exported),
        WARNING,
    ]
    return "\n".join(lines) + "\n"


def plain_card(name: str, note: str, exported: Exported) -> str:
    """Of a model that no run of mmkd trained, or whose run is not at hand: nothing is known of its data."""
    lines = [
        *_front_matter(name, "unknown", exported),
        f"# {escaped(name)}",
        "",
        f"An image-text model, exported by mmkd. {escaped(note)}".strip(),
        "",
        *_use(exported),
        "## Licence and data",
        "",
        "Not known to the export: they are those of the model that it was made from.",
        "",
        *_checked(exported),
        WARNING,
    ]
    return "\n".join(lines) + "\n"


def _counted_pairs(without: int, rows: int) -> str:
    """without: pictures without a caption among the rows of the corpus; they are no pairs."""
    more = f", and {without:,} pictures without a caption" if without else ""
    return f"{rows - without:,} image-caption pairs{more}."


def _use(exported: Exported) -> list[str]:
    """How each program opens the folder, and what of the student one cannot hold."""
    lines = []
    for name in exported.formats:
        reason = exported.refused.get(name)
        lines += IMAGE_TOWER if reason else ["```python", FORMATS[name].snippet, "```", ""]
    for left, why in exported.refused.items():
        part = "the image tower only" if left in exported.formats else "not written"
        lines += [f"Format {left}: {part}; {escaped(why)}.", ""]
    return lines


def _checked(exported: Exported) -> list[str]:
    """Figures of the comparison at export, and results of the 8-bit files."""
    lines = [
        "## Formats",
        "",
        f"Each program's outputs beside the student's on {escaped(exported.sample)}: largest absolute differences, and "
        f"on how many pictures the same text is the most probable. {_differing(exported)}",
        "",
        "| program | vectors | probabilities | same first text | pictures |",
        "|---|---|---|---|---|",
        *[
            f"| {name} | {one.vectors:.1e} | {one.probabilities:.1e} | {one.top1:,} | {one.pictures:,} |"
            for name, one in exported.agreements.items()
        ],
        "",
    ]
    if exported.int8:
        lines += ["Results of the ONNX files with 8-bit weights (those with 32 bits have the student's):", ""]
        lines += [*_results(exported.int8), ""]
    return lines


def _differing(exported: Exported) -> str:
    """What the programs do that are not the student bit by bit."""
    said = {
        RESIZED: "transformers resizes by torchvision, which rounds otherwise than Pillow, and may cut an odd margin "
        "one pixel further up; it was compared on pictures of the model's size, here also with its own resizing. It "
        "does not mend texts (broken encodings, HTML) as open_clip does, and its pipeline does not cut long ones.",
        INT8: "The files with 8-bit weights are smaller and differ by design.",
    }
    return " ".join(text for name, text in said.items() if name in exported.agreements)


def _front_matter(name: str, strict: str, exported: Exported) -> list[str]:
    """YAML, which takes JSON's strings."""
    facts = {
        "library_name": exported.formats[0],
        "pipeline_tag": "zero-shot-image-classification",
        "license": "other",
        "license_name": strict.replace(" ", "-"),
        "model_name": line(name),
        "tags": [*TAGS, *exported.formats],
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
    return [f"| {reliability.group_word} | {' | '.join(map(escaped, names))} |", "|---" * (len(names) + 1) + "|", *rows]


def _untrusted(facts: CardFacts) -> list[str]:
    group_N = facts.teachers.groups(facts.corpus)[facts.corpus.pairs("train")]
    found = facts.teachers.untrusted(group_N)
    if not found:
        return []
    became = f" These pairs {facts.of_untrusted}." if facts.of_untrusted else ""
    why = facts.teachers.why_untrusted
    return [f"{why[0].upper()}{why[1:]} on {escaped(counted(found))}.{became}", ""]


def _results(results: Sequence[Mapping[str, Any]]) -> list[str]:
    if not results:
        return ["Not evaluated in this run."]
    head = [
        "| model | data set | task | metric | value | 95 % interval | n | note |",
        "|---|---|---|---|---|---|---|---|",
    ]
    return head + [
        f"| {escaped(r['model'])} | {escaped(r['dataset'])} | {escaped(r['task'])} | {escaped(r['metric'])} "
        f"| {r['value']:.3f} | {_interval(r['low'], r['high'])} | {r['n']} "
        f"| {escaped(r.get('note', ''))} |"
        for r in results
    ]


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{low:.3f} to {high:.3f}"
