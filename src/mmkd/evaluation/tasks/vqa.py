"""Visual question answering with a head on frozen embeddings; N questions, T templates, D dimensions, B replicates."""

from collections.abc import Sequence

import numpy as np

from mmkd.cards.answers import YES_NO, normal_answer
from mmkd.cards.card import Card
from mmkd.cards.samples import BlankImage, ImageRef, Question, Sample, only_pictures
from mmkd.errors import DataError
from mmkd.evaluation.format.predictions import Predicted
from mmkd.evaluation.gallery.examples import wrong_answers
from mmkd.evaluation.heads.answer_head import AnswerHead, VqaSettings, places_of, train_head, vocabulary_of
from mmkd.evaluation.models.embeddings import EmbeddedDataSet, normalised
from mmkd.evaluation.tasks.task import Columns, Task
from mmkd.randomness import Purpose, generator
from mmkd.statistics.metrics import Array, accuracy

Embedded = EmbeddedDataSet[VqaSettings]
CORRECT = "correct"
CONTROLS = ("question_only", "blank_image", "shuffled_image")  # columns `correct:<control>`
CONTROL_METRICS = ("accuracy", *(f"{name}_accuracy" for name in CONTROLS))
CLOSED, KNOWN, ZERO_SHOT = "closed", "in_vocabulary", "zero_shot_closed"
NOT_ASKED = -1


def question_of(sample: Sample) -> Question:
    """Raises DataError where there is none."""
    if sample.question is None:
        raise DataError(f"sample {sample.id!r} has no question; visual question answering needs one for every row")
    return sample.question


def shuffled(images: Sequence[ImageRef], rng: np.random.Generator) -> list[ImageRef]:
    """For each image another of them, the same one for equal images. Raises DataError if all are one image.

    The distinct ones stand in a circle in random order, and each is replaced by the next.
    """
    distinct = list(dict.fromkeys(images))
    if len(distinct) < 2:
        raise DataError(f"{len(distinct)} distinct test picture; shuffled images need two or more")
    order = rng.permutation(len(distinct)).tolist()
    following = {distinct[one]: distinct[other] for one, other in zip(order, [*order[1:], order[0]], strict=True)}
    return [following[image] for image in images]


def groups_of(samples: Sequence[Sample]) -> list[str]:
    """The declared group, else the image: its questions are not independent."""
    number = {image: n for n, image in enumerate(dict.fromkeys(sample.image for sample in samples))}
    return [sample.group or f"picture {number[sample.image]}" for sample in samples]


def _complaint(card: Card) -> str:
    reader = card.layout.reader
    return "" if reader == "table" else f"needs questions, which the reader {reader!r} does not give"


def _check(card: Card, samples: Sequence[Sample], settings: VqaSettings, seed: int) -> None:
    for sample in samples:
        question_of(sample)
    _vocabulary(card, [sample for sample in samples if sample.split == "train"], settings)
    test = [sample for sample in samples if sample.split == "test"]
    _shuffled(only_pictures(test), card.id, seed)


def _shuffled(pictures: Sequence[ImageRef], card: str, seed: int) -> list[ImageRef]:
    return shuffled(pictures, generator(seed, Purpose.VQA_SHUFFLED_IMAGES, card))


def _texts(card: Card, samples: Sequence[Sample]) -> list[str]:
    asked = [text for sample in samples if _is_yes_no(sample) for text in _statements(card, sample)]
    return [*(question_of(sample).text for sample in samples), *asked]


def _images(card: Card, samples: Sequence[Sample]) -> list[ImageRef]:
    return [BlankImage()]


def _is_yes_no(sample: Sample) -> bool:
    question = question_of(sample)
    return sample.split == "test" and question.closed and normal_answer(question.answer) in YES_NO


def _statements(card: Card, sample: Sample) -> list[str]:
    """Every template with yes, then every template with no."""
    text = question_of(sample).text
    return [
        template.replace("{answer}", answer).replace("{question}", text)
        for answer in YES_NO
        for template in card.answer_templates
    ]


def _predict(embedded: Embedded) -> Predicted:
    """Answers of test samples are compared with and nothing else."""
    test = embedded.split("test")
    truth = [normal_answer(question_of(sample).answer) for sample in test]
    vocabulary = _vocabulary(embedded.card, embedded.split("train"), embedded.settings)
    guesses, note = _guesses(embedded, test, vocabulary)
    known = set(vocabulary)
    columns: dict[str, Array] = {
        "answer": np.array(truth, np.object_),
        "guess": np.array([vocabulary[place] for place in guesses[CORRECT]], np.object_),
        CLOSED: np.array([question_of(sample).closed for sample in test]),
        KNOWN: np.array([answer in known for answer in truth]),
    }
    for name, place_N in guesses.items():
        columns[name] = place_N == np.array(places_of(truth, vocabulary))
    if embedded.card.answer_templates:
        columns[ZERO_SHOT] = _zero_shot_closed(embedded, test)
    return Predicted.of(test, columns, groups_of(test), note)


def _vocabulary(card: Card, train: Sequence[Sample], settings: VqaSettings) -> list[str]:
    """Of the training answers only. Raises DataError when there are fewer than two."""
    answers = [normal_answer(question_of(sample).answer) for sample in train]
    vocabulary = vocabulary_of(answers, settings.vocabulary)
    if len(vocabulary) < 2:
        raise DataError(
            f"{card.id}: {len(vocabulary)} distinct answers in the train split, expected two or more; "
            "visual question answering learns its answers there"
        )
    return vocabulary


def _guesses(embedded: Embedded, test: Sequence[Sample], vocabulary: Sequence[str]) -> tuple[dict[str, Array], str]:
    """Column of correctness -> place of the guessed answer (N,): of the head, and of its controls; and a note."""
    seed, card = embedded.seed, embedded.card.id
    seeing = _head(embedded, vocabulary, generator(seed, Purpose.VQA_HEAD, card), with_image=True)
    blind = _head(embedded, vocabulary, generator(seed, Purpose.VQA_HEAD_WITHOUT_IMAGES, card), with_image=False)
    question_ND = embedded.of_texts([question_of(sample).text for sample in test])
    pictures = [sample.image for sample in test]
    others = _shuffled(pictures, card, seed)
    seen = {
        CORRECT: embedded.of_image_list(pictures),
        f"{CORRECT}:blank_image": np.tile(embedded.of_image_list([BlankImage()]), (len(test), 1)),
        f"{CORRECT}:shuffled_image": embedded.of_image_list(others),
    }
    guesses = {name: seeing.answers(_blocks(image_ND, question_ND)) for name, image_ND in seen.items()}
    return guesses | {f"{CORRECT}:question_only": blind.answers([question_ND])}, _note([seeing, blind])


def _head(embedded: Embedded, vocabulary: Sequence[str], rng: np.random.Generator, with_image: bool) -> AnswerHead:
    """Trained on the training questions whose answer is in the vocabulary."""
    train, answer_N = _answerable(embedded.split("train"), vocabulary)
    val, val_answer_N = _answerable(embedded.split("val"), vocabulary)

    def blocks(samples: Sequence[Sample]) -> list[Array]:
        question_ND = embedded.of_texts([question_of(sample).text for sample in samples])
        return _blocks(embedded.of_images(samples), question_ND) if with_image else [question_ND]

    return train_head(
        blocks(train),
        answer_N,
        groups_of(train),
        len(vocabulary),
        embedded.settings,
        rng,
        val=(blocks(val), val_answer_N) if val else None,
    )


def _answerable(samples: Sequence[Sample], vocabulary: Sequence[str]) -> tuple[list[Sample], Array]:
    """The samples whose answer is in the vocabulary, and its place there."""
    places = places_of([normal_answer(question_of(sample).answer) for sample in samples], vocabulary)
    kept = [sample for sample, place in zip(samples, places, strict=True) if place >= 0]
    return kept, np.array([place for place in places if place >= 0], np.int64)


def _blocks(image_ND: Array, question_ND: Array) -> list[Array]:
    """The product lets a linear head ask of the image what the question names."""
    return [image_ND, question_ND, image_ND * question_ND]


def _zero_shot_closed(embedded: Embedded, test: Sequence[Sample]) -> Array:
    """1 where the image lies nearer to the true one of the statements with yes and no (equal: yes), 0 where it does
    not, `NOT_ASKED` for all but yes-no questions. A statement is the normalised mean over the templates; int8 (N,)."""
    right_N = np.full(len(test), NOT_ASKED, np.int8)
    asked = [n for n, sample in enumerate(test) if _is_yes_no(sample)]
    if not asked:
        return right_N
    texts = [text for n in asked for text in _statements(embedded.card, test[n])]
    differences = []
    for member in embedded.by_member():
        text_A2TD = member.of_texts(texts).reshape(len(asked), len(YES_NO), len(embedded.card.answer_templates), -1)
        statement_A2D = normalised(text_A2TD.mean(axis=2))
        image_AD = member.of_images([test[n] for n in asked])
        differences.append(((statement_A2D[:, 0] - statement_A2D[:, 1]) * image_AD).sum(axis=1))
    said_yes_A = embedded.mean_of_members(differences) >= 0
    true_yes_A = np.array([normal_answer(question_of(test[n]).answer) == "yes" for n in asked])
    right_N[asked] = said_yes_A == true_yes_A
    return right_N


def _note(heads: Sequence[AnswerHead]) -> str:
    early, fits = (sum(getattr(head.model, name) for head in heads) for name in ("unconverged", "fits"))
    return f"{early} of {fits} fits did not converge" if early else ""


def _measure(columns: Columns, weight_BN: Array) -> dict[str, Array]:
    correct_N, closed_N = columns[CORRECT], columns[CLOSED]
    measured = {"accuracy": accuracy(correct_N, weight_BN)}
    for name, part_N in (("closed", closed_N), ("open", ~closed_N)):
        measured |= _within(f"{name}_accuracy", correct_N, part_N, weight_BN)
    measured |= {f"{name}_accuracy": accuracy(columns[f"{CORRECT}:{name}"], weight_BN) for name in CONTROLS}
    measured["image_gain"] = measured["accuracy"] - measured["question_only_accuracy"]
    measured["vocabulary_coverage"] = accuracy(columns[KNOWN], weight_BN)
    if ZERO_SHOT in columns:
        right_N = columns[ZERO_SHOT]
        measured |= _within(f"{ZERO_SHOT}_accuracy", right_N == 1, right_N != NOT_ASKED, weight_BN)
    return measured


def _within(name: str, correct_N: Array, part_N: Array, weight_BN: Array) -> dict[str, Array]:
    """The accuracy on a part of the samples; nothing where the part is empty."""
    return {name: accuracy(correct_N[part_N], weight_BN[:, part_N])} if part_N.any() else {}


TASK = Task(
    title="Visual question answering",
    section="vqa",
    settings=VqaSettings,
    gallery=wrong_answers,
    details=("input_controls",),
    complaint=_complaint,
    check=_check,
    texts=_texts,
    images=_images,
    predict=_predict,
    measure=_measure,
    primary="accuracy",
    protocol="logistic head on principal components of frozen [image, question, image * question]; answers = most "
    "frequent of the training split in normal form (lower case, no punctuation but signs and comparisons, no "
    "articles), exact match; penalty on val, else on whole training groups; question_only = a head of its own, "
    "blank_image and shuffled_image = the head on a grey square and on other test pictures; zero_shot_closed = yes-no "
    "questions by cosine of image and templates",
)
