"""The part of a model card that says on which labels a classifier rests."""

from collections.abc import Sequence

from mmkd.adapt.classifier import Facts
from mmkd.adapt.measure import Measured
from mmkd.adapt.words import heads_and_lines, verdict
from mmkd.markdown import escaped

HEADING = "## Classifier"


def adapted_card(base: str, facts: Facts, rows: Sequence[Measured], row: Measured) -> str:
    """The model's own card with the classifier's part behind it, in place of one that was there."""
    text = base.partition(f"\n{HEADING}\n")[0].rstrip()
    own = text or f"# {escaped(facts.model)} with a classifier"
    counts = [f"| {escaped(name)} | {count:,} |" for name, count in facts.data["labels"].items()]
    note = f" {facts.temperature_note.capitalize()}." if facts.temperature_note else ""
    heads, lines = heads_and_lines(rows)
    parts = [
        own,
        "",
        HEADING,
        "",
        f"`classifier.safetensors` and `classifier.json`: {len(facts.classes)} classes, {facts.method} "
        f"({escaped(facts.setting or 'prompts alone')}; {escaped(facts.source)}). {verdict(row)} Logits are "
        f"divided by the temperature {facts.temperature:.4g}.{note}",
        "",
        f"It rests on {sum(facts.data['labels'].values()):,} labelled pictures of {facts.data['groups']:,} groups "
        f"(patients); {facts.data['rejected']:,} pictures could not be read. It is valid for pictures like these.",
        "",
        "| class | labelled pictures |",
        "|---|---|",
        *counts,
        "",
        f"Tested on {facts.gain['tested']:,} pictures ({facts.gain['folds']}); balanced accuracy in percent.",
        "",
        f"| {' | '.join(heads)} |",
        "|---" * len(heads) + "|",
        *[f"| {' | '.join(map(escaped, line))} |" for line in lines],
    ]
    return "\n".join(parts) + "\n"
