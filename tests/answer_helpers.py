"""Made-up answers for the tests of what is derived from answers."""

from collections.abc import Sequence

import numpy as np

from xai.predictions import Predictions


def answers(
    labels: Sequence[int] | np.ndarray,
    predicted: Sequence[int] | np.ndarray,
    classes: int = 2,
    confidence: Sequence[float] | np.ndarray | float = 1.0,
) -> Predictions:
    """Answers with the given confidences; the rest of the probability is shared evenly by the other classes."""
    right, said = np.asarray(labels, np.int64), np.asarray(predicted, np.int64)
    own = np.broadcast_to(np.asarray(confidence, np.float64), right.shape)
    shares = np.repeat(((1 - own) / max(classes - 1, 1))[:, None], classes, axis=1)
    shares[np.arange(len(right)), said] = own
    return Predictions(
        tuple(f"test/{k:05}" for k in range(len(right))), right, said, shares.astype(np.float16)
    )


def random_answers(seed: int, images: int = 400, classes: int = 5, noise: float = 2.0) -> Predictions:
    """Softmax answers to the same made-up labels for every seed, right about half of the time."""
    labels = np.random.default_rng(99).integers(0, classes, images)
    scores = np.random.default_rng(seed).normal(size=(images, classes)) * noise
    scores[np.arange(images), labels] += 2.5
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    halves = shares.astype(np.float16)
    return Predictions(tuple(f"test/{k:05}" for k in range(images)), labels, halves.argmax(axis=1), halves)


def graded(right: Sequence[int] | np.ndarray) -> Predictions:
    """Answers to images of class 0 of two that are right (1) or wrong (0)."""
    return answers(np.zeros(len(right), int), 1 - np.asarray(right, int))


def shuffled(rows: Predictions, seed: int = 0) -> Predictions:
    """The same answers with the images in another order."""
    order = np.random.default_rng(seed).permutation(len(rows))
    columns = (rows.labels[order], rows.predicted[order], rows.probabilities[order])
    return Predictions(tuple(rows.ids[k] for k in order), *columns)
