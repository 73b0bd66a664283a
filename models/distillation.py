"""Learning from a teacher's answers (knowledge distillation)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.recipes import Recipe


def distillation_loss(scores: Tensor, teacher_scores: Tensor, labels: Tensor, recipe: Recipe) -> Tensor:
    """Loss of a student, a scalar, from its and its teacher's logits `(N, K)` and labels int64 `(N,)`.

    (1 - w) CE + w T^2 KL(teacher at T || student at T), means over the batch, with w = `teacher_weight`, T =
    `temperature` and label smoothing in the cross-entropy alone. Hinton, Vinyals & Dean 2015, arXiv 1503.02531.
    """
    hard = F.cross_entropy(scores, labels, label_smoothing=recipe.label_smoothing)
    student = F.log_softmax(scores / recipe.temperature, dim=1)
    teacher = F.log_softmax(teacher_scores / recipe.temperature, dim=1)
    soft = F.kl_div(student, teacher, reduction="batchmean", log_target=True) * recipe.temperature**2
    return (1 - recipe.teacher_weight) * hard + recipe.teacher_weight * soft


def loss_of(scores: Tensor, answers: Tensor | None, labels: Tensor, recipe: Recipe) -> Tensor:
    """Cross-entropy with label smoothing, or the distillation loss where a teacher answered; a float32 scalar."""
    if answers is None:
        return F.cross_entropy(scores.float(), labels, label_smoothing=recipe.label_smoothing)
    return distillation_loss(scores.float(), answers.float(), labels, recipe)


@torch.no_grad()
def teacher_scores(teacher: nn.Module, images: Tensor) -> Tensor:
    """The teacher's logits `(N, K)` for the very images that the student sees, without a gradient."""
    return teacher(images)
