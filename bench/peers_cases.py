"""The comparisons of `bench/peers.py`: the same work by mmkd and by the program that a user would take otherwise.

Each function here makes the inputs (untimed) and returns both sides. What a side returns is compared by `difference`,
the largest absolute difference; NaN where the two do not compute the same number. Inputs are made by a seed.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

Side = Callable[[], Any]


@dataclass(frozen=True)
class Sides:
    """Both ways of one piece of work; `given` says how large it is."""

    ours: Side
    theirs: Side
    given: str
    difference: Callable[[Any, Any], float] = lambda _ours, _theirs: math.nan


@dataclass(frozen=True)
class Comparison:
    """One row. what: the work. peer: what it stands beside, and the module that has to be there. slower: why mmkd is
    slower where it is, "" where it is not expected to be."""

    what: str
    peer: str
    module: str
    make: Callable[[Path], Sides]
    slower: str = ""

    @property
    def missing(self) -> bool:
        """Whether the peer is not installed; nothing is imported."""
        return find_spec(self.module) is None


def _apart(ours: Any, theirs: Any) -> float:
    return float(np.abs(np.asarray(ours, dtype=np.float64) - np.asarray(theirs, dtype=np.float64)).max())


def stage_one(folder: Path) -> Sides:
    from open_clip_trainer import Case
    from parity import ARMS, small_corpus

    from mmkd.settings import Machine
    from mmkd.training.settings.train import PretrainSettings

    machine, numbers = Machine(device="cpu", workers=0, threads=1), count()
    corpus = small_corpus(folder, 240, machine)
    settings = PretrainSettings(epochs=2, batch_size=16, lr=1e-3, warmup_steps=5)

    def case() -> Case:
        return Case(corpus, ARMS["small-fp32"][0], settings, folder / f"run{next(numbers)}", machine)

    return Sides(
        lambda: case().ours().losses,
        lambda: case().theirs().losses,
        f"{case().steps} steps of 16 pairs, four layers a tower, 64 pixels",
        _apart,
    )


def contrastive_loss(_: Path) -> Sides:
    import open_clip
    import torch

    from mmkd.training.data.view import Embedded, single_view
    from mmkd.training.objectives.contrastive import Contrastive
    from mmkd.training.settings.train import TrainSettings

    image, text = _vectors(2, 1024, 512)
    objective, theirs = Contrastive(TrainSettings()), open_clip.ClipLoss()
    generator = torch.Generator()

    def ours() -> float:
        own = Embedded(image.clone().requires_grad_(), text.clone().requires_grad_(), torch.tensor(14.3))
        view = single_view(own, torch.eye(len(image), dtype=torch.bool), None, generator)
        return _backward(objective(view)["contrastive"])

    return Sides(
        ours,
        lambda: _backward(theirs(image.clone().requires_grad_(), text.clone().requires_grad_(), torch.tensor(14.3))),
        "1,024 pairs, 512 dimensions, forward and backward",
        _apart,
    )


def _backward(loss: Any) -> float:
    loss.backward()
    return float(loss.detach())


def _vectors(many: int, rows: int, dim: int) -> Any:
    import torch
    from torch.nn.functional import normalize

    return normalize(torch.randn(many, rows, dim, generator=torch.Generator().manual_seed(0)), dim=2)


RECALLS = (1, 5, 10)
Recalls = Callable[[np.ndarray, np.ndarray], list[float]]
"""(image (N, D), text (N, D)) -> recall at each of `RECALLS`, from images to texts and from texts to images."""


def retrieval(theirs: Recalls, _: Path) -> Sides:
    from mmkd.evaluation.tasks.retrieval import best_positive_ranks

    image, text = _vectors(2, 4000, 512).numpy()
    text = (text + 0.1 * image).astype(np.float32)
    key_N = np.arange(len(image))

    def ours() -> list[float]:
        ranks = [best_positive_ranks(a, b, key_N) for a, b in ((image, text), (text, image))]
        return [float((rank_N <= k).mean()) for rank_N in ranks for k in RECALLS]

    return Sides(ours, lambda: theirs(image, text), "4,000 pairs both ways, 512 dimensions", _apart)


def open_clip_recalls(image: np.ndarray, text: np.ndarray) -> list[float]:
    import torch
    from open_clip_train.train import get_clip_metrics

    found = get_clip_metrics(torch.from_numpy(image), torch.from_numpy(text), torch.tensor(1.0))
    return [float(found[f"{way}_R@{k}"]) for way in ("image_to_text", "text_to_image") for k in RECALLS]


def clip_benchmark_recalls(image: np.ndarray, text: np.ndarray) -> list[float]:
    """As its `evaluate` does it after the embeddings, with its batches of 64."""
    import torch
    from clip_benchmark.metrics.zeroshot_retrieval import batchify, recall_at_k

    score_NN, own_NN = torch.from_numpy(image @ text.T), torch.eye(len(image), dtype=torch.bool)
    return [
        float((batchify(recall_at_k, score, own_NN, 64, "cpu", k=k) > 0).float().mean())
        for score in (score_NN, score_NN.T)
        for k in RECALLS
    ]


def linear_probe(_: Path) -> Sides:
    from sklearn.linear_model import LogisticRegression

    from mmkd.evaluation.heads.logistic import fit

    rng = np.random.default_rng(0)
    label_N = rng.integers(9, size=10_000)
    value_ND = (rng.normal(size=(10_000, 256)) + rng.normal(size=(9, 256))[label_N] * 0.3).astype(np.float32)

    def theirs() -> Any:
        scaled_ND = (value_ND - value_ND.mean(axis=0)) / value_ND.std(axis=0)
        return LogisticRegression(C=1.0, max_iter=1000).fit(scaled_ND, label_N).predict_proba(scaled_ND)

    return Sides(
        lambda: np.exp(fit(value_ND, label_N, 1.0, 9).scores(value_ND)),
        theirs,
        "10,000 samples of 256 dimensions, nine classes, one penalty",
        _apart,
    )


def bootstrap(_: Path) -> Sides:
    import bootstrap as bench

    from mmkd.statistics.bootstrap import plan_draws, replicate

    score_NC, label_N = bench.predictions(2000, 9)
    draws = plan_draws([""] * len(label_N), label_N, 50, (0,))
    functions, loop = bench.ours(score_NC, label_N), bench.theirs(score_NC, label_N)
    resamples = [np.repeat(np.arange(len(n)), n) for n in np.concatenate(list(draws.blocks()))]

    def ours() -> Any:
        found = replicate(lambda weight_BN: {name: f(weight_BN) for name, f in functions.items()}, draws)
        return np.stack([found[name] for name in loop])

    return Sides(
        ours,
        lambda: np.array([[function(drawn) for drawn in resamples] for function in loop.values()]),
        "five metrics, 2,000 samples, nine classes, 50 replicates",
        _apart,
    )


def concordance(_: Path, peer: str = "sksurv", patients: int = 10_000) -> Sides:
    import concordance as bench

    from mmkd.statistics.survival.concordance import harrell_c
    from mmkd.statistics.survival.outcomes import Outcomes

    rng = np.random.default_rng(0)
    outcomes = Outcomes.of(rng.random(patients) < 0.5, np.ceil(rng.exponential(1000, patients)))
    risk_N = rng.normal(size=patients).round(3) - outcomes.time_N / 2000
    theirs = (bench._scikit_survival if peer == "sksurv" else bench._lifelines)(risk_N, outcomes)
    if theirs is None:
        raise ImportError(peer)
    once_1N = np.ones((1, patients))
    return Sides(
        lambda: float(harrell_c(risk_N, outcomes, once_1N)[0]), theirs, f"{patients:,} patients, half censored", _apart
    )


def near_hashes(_: Path) -> Sides:
    import faiss

    from mmkd.images.hamming import within

    rng = np.random.default_rng(0)
    key_K = rng.integers(2**63, size=200_000, dtype=np.uint64)
    query_Q = key_K[:20_000] ^ np.uint64(0b101)
    bytes_of = {name: value.view(np.uint8).reshape(-1, 8) for name, value in (("key", key_K), ("query", query_Q))}

    def theirs() -> int:
        index = faiss.IndexBinaryFlat(64)
        index.add(bytes_of["key"])
        limits, *_ = index.range_search(bytes_of["query"], 7)  # below 7: at most 6
        return int(limits[-1])

    return Sides(
        lambda: len(within(query_Q, key_K, 6).query_P),
        theirs,
        "20,000 hashes among 200,000, at most 6 of 64 bits apart",
        _apart,
    )


def curation(folder: Path) -> Sides:
    from datasets import load_dataset
    from scale_measure import SIDE, noisy_jpeg

    from mmkd.curation.curate import curate
    from mmkd.curation.settings.curate import CurateSettings
    from mmkd.curation.settings.sources import TableSource
    from mmkd.settings import Machine

    rows, numbers = 400, count()
    (folder / "images").mkdir()
    lines = ["id,image,caption"]
    for row in range(rows):
        (folder / "images" / f"{row}.jpg").write_bytes(noisy_jpeg(row))
        lines.append(f"r{row},images/{row}.jpg,axial slice number {row} of a chest")
    table = folder / "pairs.csv"
    table.write_text("\n".join(lines) + "\n")
    settings = CurateSettings(sources=[TableSource(kind="table", path=table)], val=0.0)

    def ours() -> int:
        out = folder / f"corpus{next(numbers)}"
        out.mkdir()
        return int(curate(settings, out, Machine(workers=0), 0)["kept"])

    def read(row: dict[str, Any]) -> dict[str, Any]:
        from io import BytesIO

        from PIL import Image

        data = (folder / row["image"]).read_bytes()
        with Image.open(BytesIO(data)) as picture:
            grey = picture.convert("RGB").convert("L").resize((32, 32))
        return {"bytes": data, "width": picture.width, "height": picture.height, "small": grey.tobytes()}

    def theirs() -> int:
        cache = folder / f"cache{next(numbers)}"
        rows = load_dataset("csv", data_files=str(table), split="train", cache_dir=str(cache))
        made = rows.map(read, load_from_cache_file=False)
        made.save_to_disk(folder / f"saved{next(numbers)}")
        return len(made)

    return Sides(ours, theirs, f"{rows} JPEGs of {SIDE} x {SIDE} pixels, one process", _apart)


COMPARISONS: dict[str, Comparison] = {
    "train": Comparison("stage 1, the whole loop", "open_clip's own trainer", "open_clip_train", stage_one),
    "loss": Comparison(
        "the contrastive loss",
        "open_clip's ClipLoss",
        "open_clip",
        contrastive_loss,
        "any pairs may be positives of one another, not the diagonal alone; losses are less than 1 % of a step",
    ),
    "retrieval": Comparison(
        "ranks and recall",
        "open_clip's get_clip_metrics",
        "open_clip_train",
        partial(retrieval, open_clip_recalls),
    ),
    "recall": Comparison(
        "ranks and recall", "CLIP_benchmark", "clip_benchmark", partial(retrieval, clip_benchmark_recalls)
    ),
    "probe": Comparison(
        "a linear probe",
        "scikit-learn",
        "sklearn",
        linear_probe,
        "the solver is scikit-learn's; columns that hardly vary are looked for and not stretched",
    ),
    "bootstrap": Comparison("metrics on resamples", "a loop over scikit-learn", "sklearn", bootstrap),
    "concordance": Comparison("Harrell's C", "scikit-survival", "sksurv", concordance),
    "lifelines": Comparison("Harrell's C", "lifelines", "lifelines", partial(concordance, peer="lifelines")),
    "hashes": Comparison(
        "near hashes",
        "faiss, binary and exact",
        "faiss",
        near_hashes,
        "the keys are sorted a few dozen times whatever is asked; faiss compares all with all, which suits few queries",
    ),
    "curate": Comparison(
        "pictures and captions to a corpus",
        "datasets: load, map, save",
        "datasets",
        curation,
        "mmkd also hashes each picture (SHA-256 and perceptual), splits by group and writes the account of all records",
    ),
}
