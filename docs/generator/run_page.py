"""The reference page of the folders of a run."""

from mmkd.pipeline.status import STAGES

HEAD = """# Folders of a run

`mmkd run RECIPE --out runs/mine` writes one folder for each stage below `runs/mine`.
`mmkd run RECIPE --dry-run` prints the same table for a recipe, with the state of each folder.

| stage | folders |
|---|---|
"""


def run_page() -> str:
    """A row for each stage, then what lies in the folders."""
    rows = [f"| `{stage}` | {', '.join(f'`{name}/`' for name in names)} |" for stage, names in STAGES.items()]
    return HEAD + "\n".join(rows) + "\n\n" + CONTENT


CONTENT = """## What the folders hold

| folder | content |
|---|---|
| `world/` | the synthetic world of recipes that have `[phantom]`: images, tables of pairs, cards, tokenizers |
| `specialists/<name>/` | teachers that the run trains itself, as open_clip folders; `<name>.corpus/` has their pairs |
| `corpus/` | the pairs, an Arrow folder that `datasets.load_from_disk` opens; `rejected.parquet`, `curation.parquet` and `curation.html` account for every record |
| `features/<teacher>/` | float16 unit vectors of images and captions, aligned with the corpus row by row |
| `evidence/` | the teachers' votes on each image's modality: `evidence.parquet`, `evidence.json`, `evidence.html` |
| `reliability/` | reliability of each teacher by modality or cluster, weights, dispersion, logit scales |
| `pretrain/`, `distill/`, `rivals/*/` | students as open_clip folders, with `metrics.jsonl`; `curves.html` lies beside them |
| `evaluate/` | see below |
| `report/` | `index.html`, a page that opens offline; tables as CSV and LaTeX |
| `export/` | the student as an open_clip folder with a model card, `README.md` |

Every folder has a `manifest.json`. It is written last and holds settings, digests of the inputs, counts, versions, wall time, peak memory and the
digest of the content.

## The folder `evaluate`

| file | content |
|---|---|
| `embeddings/<set>/<model>.safetensors` | unit vectors of the images and texts of a data set |
| `predictions/<task>/<set>/<model>.parquet` | one row per sample: scores, labels, group; the metadata hold the digest of model, transform, data, protocol and settings |
| `results.jsonl`, `comparisons.jsonl`, `rankings.jsonl` | every number, every paired comparison, every ranking over data sets |
| `leakage.jsonl`, `cards.jsonl`, `gallery/`, `heat_maps/` | what the report shows besides |
| `bags/<set>/<model>/<slide>.h5` | with `[evaluate] bags = true`: tile features in the layout of CLAM and TRIDENT |
"""
