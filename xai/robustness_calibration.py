"""How well each network answers and how well it knows it, on clean images beside degraded ones."""

from __future__ import annotations

from collections.abc import Sequence

from xai.calibration import Bin, Calibration, calibration, reliability
from xai.metrics import macro_auc, macro_scores, top_k_accuracy
from xai.predictions import Graded, Predictions
from xai.results import Board, Condition
from xai.robustness_board import conditions, estimated, kept, percent, register, scaled, told
from xai.robustness_curves import share_of
from xai.tables import Row, Rows

TOP = 5


def fullest(board: Board, model: str, condition: Condition) -> Graded | None:
    """Answers with all probabilities where these are stored, else the compact ones, None where there are none."""
    rows = told(board, model, condition)
    return None if rows is None else board.predictions(model, condition) or rows


def calibrated(board: Board, model: str, condition: Condition) -> Calibration | None:
    """Calibration errors and scores with intervals; None where there are no answers."""
    rows = fullest(board, model, condition)
    if rows is None:
        return None
    full = isinstance(rows, Predictions)
    return kept(board, ("calibration", full), [(model, condition)], lambda: calibration(rows))


def diagram(board: Board, model: str, condition: Condition) -> list[Bin]:
    """The rows of the reliability diagram; empty where there are no answers."""
    rows = told(board, model, condition)
    if rows is None:
        return []
    return kept(board, ("reliability",), [(model, condition)], lambda: reliability(rows))


@register("calibration", "Calibration with 95 \\% bootstrap intervals.")
def calibration_table(board: Board, models: Sequence[str], scale: str) -> Rows:
    """`calibration_rows` of the clean images and each degraded condition."""
    return calibration_rows(board, models, conditions(board, models, scale))


def calibration_rows(board: Board, models: Sequence[str], chosen: Sequence[Condition]) -> Rows:
    """A row for each network under each condition: ECE, adaptive ECE, Brier score and NLL with intervals.

    ECE in %, Brier in [0, 2], NLL in nats. `ECE % if calibrated` is what a perfectly calibrated network would show.
    """
    return [
        {
            "condition": condition.title,
            "network": model,
            "images": found.images,
            **estimated("ECE %", found.ece),
            "ECE % if calibrated": scaled(found.calibrated_ece),
            **estimated("adaptive ECE %", found.adaptive_ece),
            **estimated("NLL", found.nll, 1),
            **estimated("Brier", found.brier, 1),
        }
        for model in models
        for condition in chosen
        if (found := calibrated(board, model, condition)) is not None
    ]


@register("scores", "Accuracy, macro F1, macro one-vs-rest AUC and top-5 accuracy.")
def score_table(board: Board, models: Sequence[str], scale: str) -> Rows:
    """`score_rows` of the clean images and each degraded condition."""
    return score_rows(board, models, conditions(board, models, scale))


def score_rows(board: Board, models: Sequence[str], chosen: Sequence[Condition], k: int = TOP) -> Rows:
    """A row for each network under each condition, in %; AUC and top-k need the probabilities of all classes."""
    rows = [_score_row(board, model, condition, k) for model in models for condition in chosen]
    return [row for row in rows if row]


def _score_row(board: Board, model: str, condition: Condition, k: int) -> Row:
    rows, share = fullest(board, model, condition), share_of(board, model, condition)
    if rows is None or share is None:
        return {}
    macro, area = kept(
        board, ("macro", isinstance(rows, Predictions)), [(model, condition)], lambda: _macro(rows)
    )
    best = top_k_accuracy(rows, k) if isinstance(rows, Predictions) else None
    return {
        "condition": condition.title,
        "network": model,
        "images": share.total,
        **percent("accuracy %", share),
        "macro F1 %": scaled(macro),
        "macro AUC %": scaled(area),
        **percent(f"top-{k} %", best),
    }


def _macro(rows: Graded) -> tuple[float, float | None]:
    """Macro F1, and macro AUC where all probabilities are there."""
    return macro_scores(rows).f1, macro_auc(rows) if isinstance(rows, Predictions) else None


def full_note(board: Board, models: Sequence[str], chosen: Sequence[Condition]) -> str:
    """A sentence on which answers hold no probabilities of all classes; empty where all do."""
    lacking = [
        condition.title
        for condition in chosen
        if any(
            board.has(model, condition) and board.predictions(model, condition) is None for model in models
        )
    ]
    if not lacking:
        return ""
    return (
        f"Brier score, AUC and top-k need the probabilities of all classes, which are not stored for: "
        f"{'; '.join(lacking)}."
    )
