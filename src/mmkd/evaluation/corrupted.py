"""Data sets as corruptions leave them: their test pictures at every severity of one family."""

from dataclasses import replace

from mmkd.evaluation.corruptions.corrupt import VERSION, CorruptedImage
from mmkd.evaluation.corruptions.families import SEVERITIES, Family, families_of
from mmkd.evaluation.data_sets.opened import DataSet
from mmkd.evaluation.tasks.robustness import OF
from mmkd.folders.digests import json_digest


def corrupted_sets(data_set: DataSet, asked: bool | list[Family]) -> dict[Family, DataSet]:
    """Family -> the test samples at each severity, one severity after the other; empty where nothing is asked for, and
    for data sets without zero-shot classification. They have no texts: these are the data set's own.

    asked: `[evaluate] corruptions`.
    """
    test = [sample for sample in data_set.samples if sample.split == "test"]
    is_served = test and all(len(sample.images) == 1 for sample in test)  # the task itself says where it is not
    if OF not in data_set.card.tasks or not is_served:
        return {}
    return {family: _corrupted(data_set, family) for family in families_of(data_set.card.modality, asked)}


def _corrupted(data_set: DataSet, family: Family) -> DataSet:
    card = data_set.card.model_copy(update={"id": f"{data_set.card.id}/{family}"})  # a folder below its embeddings
    test = [sample for sample in data_set.samples if sample.split == "test"]
    # an image of several samples is called after the first
    names = {sample.image: f"{data_set.card.id}/{sample.id}" for sample in reversed(test)}
    samples = [
        replace(sample, images=(CorruptedImage(sample.image, family, severity, names[sample.image]),))
        for severity in SEVERITIES
        for sample in test
    ]
    images = list(dict.fromkeys(sample.image for sample in samples))
    return DataSet(card, samples, images, [], json_digest([data_set.digest, family, VERSION]))
