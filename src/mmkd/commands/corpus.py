"""`mmkd corpus show | sample | stats | near-duplicates | ledger | export`."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from mmkd.commands.options import Force, Json
from mmkd.progress import print_table
from mmkd.renamed import warn

HELP = "Look into a corpus: single pairs, a sample, its numbers, its ledger; write it in other programs' layouts."
CAPTION = 100  # characters of a caption in a table
LISTED = 30  # values of a column
TEXTS = ("modality", "source", "caption")  # columns of a sample that hold no numbers
app = typer.Typer(help=HELP, no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="A corpus folder (runs/demo/corpus).")]
Beside = Annotated[
    Path | None, typer.Option("--evidence", metavar="DIR", help="What 'mmkd evidence' left (runs/demo/evidence).")
]


@app.command("show")
def show(
    folder: Folder,
    identity: Annotated[str, typer.Argument(metavar="ID", help="The record's id.")],
    image: Annotated[Path | None, typer.Option("--image", metavar="FILE", help="Write its picture there.")] = None,
    evidence: Beside = None,
    as_json: Json = False,
) -> None:
    """Show all that is known of one record; of one that was rejected, why."""
    from mmkd.curation.ledger.records import find_record
    from mmkd.errors import DataError
    from mmkd.folders.atomic import atomic_file

    is_kept, row = find_record(folder, identity)
    data = row.pop("image", b"")
    shown = row | ({"image_bytes": len(data)} if is_kept else {"kept": False})
    if evidence is not None and is_kept:
        from mmkd.features.evidence.stored import StoredEvidence

        shown |= {"evidence": StoredEvidence(evidence, folder).row(identity)}
    print(json.dumps(shown, indent=1) if as_json else "\n".join(f"{name:20s} {value}" for name, value in shown.items()))
    if image is not None:
        if not is_kept:
            raise DataError(f"{identity} was rejected ({row['reason']}); the pictures of rejected records are not kept")
        with atomic_file(image) as stream:
            stream.write(data)


@app.command("sample")
def sample(
    folder: Folder,
    count: Annotated[int, typer.Option("-n", "--pairs", min=1, help="How many.")] = 20,
    modality: Annotated[str | None, typer.Option("--modality", metavar="M", help="Only of this one.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the draw.")] = 0,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page with pictures.")] = None,
    as_json: Json = False,
) -> None:
    """Draw pairs at random, and print them or write them as a page with pictures."""
    from mmkd.curation.ledger.records import sample as draw
    from mmkd.randomness import Purpose, generator

    rows = draw(folder, count, modality, generator(seed, Purpose.CORPUS_SAMPLE))
    if html is not None:
        from mmkd.folders.atomic import atomic_file
        from mmkd.report.curation import sample_page

        with atomic_file(html) as stream:
            stream.write(sample_page(f"A sample of {folder.resolve().name}", rows).encode())
        print(f"{len(rows)} pairs: {html}")
        return
    plain = [{name: value for name, value in row.items() if name != "image"} for row in rows]
    print(json.dumps(plain, indent=1)) if as_json else _print_sample(plain)


@app.command("stats")
def stats(folder: Folder, evidence: Beside = None, as_json: Json = False) -> None:
    """Count a corpus: by split, modality, source, licence, language; lengths, sizes, and what repeats.

    With --evidence also by the modality that all evidence makes most probable, and by the teachers' votes.
    """
    from mmkd.curation.ledger.funnel import excluded
    from mmkd.curation.ledger.statistics import corpus_statistics
    from mmkd.curation.ledger.tally import most_common

    found = {**corpus_statistics(folder).to_json(), "excluded": most_common(excluded(folder))}
    if evidence is not None:
        from mmkd.features.evidence.stored import StoredEvidence

        found["evidence"] = StoredEvidence(evidence, folder).counts()
    print(json.dumps(found, indent=1)) if as_json else _print_stats(found)


@app.command("alike", hidden=True)  # its name in the release before
@app.command("near-duplicates")
def near_duplicates(
    context: typer.Context,
    folder: Folder,
    features: Annotated[Path, typer.Option("--features", metavar="DIR", help="A teacher's (runs/demo/features/eye).")],
    cosine: Annotated[float, typer.Option("--cosine", min=-1, max=1, help="Of two pictures, at least.")] = 0.98,
    seed: Annotated[int, typer.Option("--seed", help="Of the projections.")] = 0,
    as_json: Json = False,
) -> None:
    """List pairs of pictures that a teacher finds nearly equal, which hashes of pixels may have missed."""
    if context.info_name == "alike":
        warn("'mmkd corpus alike' is now called 'mmkd corpus near-duplicates'; the next release knows that name only")
    from mmkd.corpus.schema import Corpus
    from mmkd.features.near_duplicates import near_duplicate_rows
    from mmkd.features.store import TeacherFeatures
    from mmkd.randomness import Purpose, generator

    corpus = Corpus(folder)
    pair_P2, cosine_P = near_duplicate_rows(
        TeacherFeatures(features, corpus), cosine, generator(seed, Purpose.NEAR_DUPLICATES)
    )
    ids = corpus.column("id")
    lines = [(ids[one], ids[other], float(near)) for (one, other), near in zip(pair_P2, cosine_P, strict=True)]
    if as_json:
        print(json.dumps([dict(zip(("first", "second", "cosine"), line, strict=True)) for line in lines], indent=1))
        return
    print_table(("first", "second", "cosine"), [(one, other, f"{near:.4f}") for one, other, near in lines])


@app.command("ledger")
def ledger(folder: Folder) -> None:
    """Write curation.html and curation.parquet anew, for a corpus that has none or an older one."""
    from mmkd.report.curation import PAGE, write_ledger

    write_ledger(folder, folder.resolve().name)
    print(f"ledger: {folder / PAGE}")


@app.command("export")
def export(
    folder: Folder,
    layout: Annotated[str, typer.Option("--format", metavar="NAME", help="webdataset, parquet or csv.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder to write.")],
    split: Annotated[str | None, typer.Option("--split", metavar="NAME", help="Only train or val.")] = None,
    pairs: Annotated[int, typer.Option("--shard-pairs", min=1, max=10_000, help="Pairs a shard.")] = 1000,
    force: Force = False,
) -> None:
    """Write a corpus so that other programs train on it; a killed export goes on where it was.

    webdataset: SPLIT/00000.tar with sizes.json, as open_clip and img2dataset have it. parquet: data/SPLIT-*.parquet
    with the images inside, as the Hugging Face hub has it. csv: image files and SPLIT.tsv for open_clip's csv reader.
    """
    from mmkd.corpus.export.export import export_corpus

    export_corpus(folder, layout, out.resolve(), split, pairs, force)


def _print_sample(rows: Sequence[Mapping[str, Any]]) -> None:
    columns = ("id", "modality", "source", "size", "caption")
    lines = [
        (row["id"], row["modality"], row["source"], f"{row['width']} x {row['height']}", _cut(row["caption"]))
        for row in rows
    ]
    print_table(columns, lines, TEXTS)


def _print_stats(found: Mapping[str, Any]) -> None:
    without = found["captionless"]
    more = f" and {without:,} pictures without a caption" if without else ""
    print(f"{found['pairs'] - without:,} pairs{more}")
    what = "pictures" if without else "pairs"
    for name in ("split", "modality", "source", "licence", "language", "panel", "modality_evidence"):
        _print_counts(name.replace("_", " "), found[name], found["pairs"], what)
    spread = {name: found[name] for name in ("characters", "words", "width", "height", "confidence") if found[name]}
    heads = list(next(iter(spread.values()), {}))
    print_table(("", *heads), [(name, *(f"{n:,g}" for n in row.values())) for name, row in spread.items()])
    heads = list(next(iter(found["repeats"].values())))
    print_table(("", *heads), [(name, *(f"{n:,}" for n in row.values())) for name, row in found["repeats"].items()])
    if both := found["images_in_both_splits"]:
        print(f"{both:,} images are in both splits, train and val: groups part them, or an older mmkd made the corpus")
    if excluded := found["excluded"]:
        by_source = ", ".join(f"{name} {count:,}" for name, count in excluded.items())
        print(f"{sum(excluded.values()):,} records excluded by include or part, which are no pairs: {by_source}")
    disputed = f"{found['conflicts']:,} {what} with contradicting evidence"
    print(f"{found['mentions']:,} pairs with a mention in the text; {disputed}")
    if votes := found.get("evidence"):
        _print_counts("modality by all evidence", votes["modality"], found["pairs"], what)
        _print_counts("modality by the teachers' votes", votes["image_modality"], found["pairs"], what)
        print(f"{votes['disputed']:,} {what} with contradicting evidence; {votes['near_duplicates']:,} near duplicates")


def _print_counts(name: str, counts: Mapping[str, int], rows: int, what: str) -> None:
    """rows: of the corpus. what: they are, pairs or pictures."""
    lines = [(value, f"{count:,}", f"{count / rows:.1%}") for value, count in list(counts.items())[:LISTED]]
    print_table((name, what, "of all"), lines)
    if len(counts) > LISTED:
        print(f"and {len(counts) - LISTED:,} more; --json has all")


def _cut(text: str) -> str:
    return text if len(text) <= CAPTION else f"{text[: CAPTION - 1].rstrip()}…"
