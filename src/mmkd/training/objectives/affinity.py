"""The default term: the student's softmax over the batch follows each teacher's.

Letters: B own pairs, K keys, D student dimension, E dimension of a teacher.
"""

from torch import Tensor

from mmkd.training.data.teacher_inputs import TeacherInputs
from mmkd.training.data.view import View
from mmkd.training.losses.affinity import affinity
from mmkd.training.losses.memory import in_chunks


def affinity_term(view: View, teacher: TeacherInputs) -> Tensor:
    """KL of the student's image-text softmax from the teacher's, mean of both ways (B,)."""

    def one_way(query_BD: Tensor, key_KD: Tensor, teacher_BE: Tensor, teacher_KE: Tensor) -> Tensor:
        def loss(query_BD: Tensor, teacher_BE: Tensor) -> Tensor:
            return affinity(query_BD, key_KD, view.own.scale, teacher_BE, teacher_KE, teacher.scale, teacher.key_K)

        return in_chunks(loss, (query_BD, teacher_BE), len(key_KD))

    forward_B = one_way(view.own.image_BD, view.keys.text_BD, teacher.image_BE, teacher.key_text_KE)
    backward_B = one_way(view.own.text_BD, view.keys.image_BD, teacher.text_BE, teacher.key_image_KE)
    return (forward_B + backward_B) / 2
