"""What is said of maps in numbers, all measured in the features themselves but for what is said of the picture."""

from __future__ import annotations

import math

import numpy as np
import streamlit as st

from xai.embedding import Degraded, Embedding, Map, Share
from xai.embedding_metrics import mean_share
from xai.embedding_words import chance_percent, counted, measure, percent
from xai.statistics import wilson
from xai.ui import embedding_data, explaining, widgets

Row = dict[str, object]


def accuracy(right: np.ndarray) -> Share:
    """The share of right answers `(N,)` with its Wilson interval."""
    count, total = int(right.sum()), len(right)
    if not total:
        return Share(math.nan, math.nan, math.nan, 0)
    return Share(count / total, *wilson(count, total), total)


def map_words(found: Embedding, one: Map, degraded: Degraded | None = None) -> str:
    """The line below a map: how often the network is right, and what the neighbourhoods say."""
    k = one.neighbours.shape[1]
    if degraded is None:
        quality = one.quality
        right = accuracy(one.answers.predicted == found.labels)
        return (
            f"Network right: {percent(right)}. {counted(k, 'nearest neighbour')} right: "
            f"{percent(quality.knn_accuracy)} in features, {percent(quality.knn_accuracy_2d)} in the picture. "
            f"Trustworthiness {measure(quality.trustworthiness)}, continuity {measure(quality.continuity)}."
        )
    right = accuracy(degraded.answers.predicted == found.labels)
    return (
        f"Network right: {percent(right)}. {counted(k, 'nearest clean neighbour')} right: "
        f"{percent(degraded.knn_accuracy)}. Neighbours kept: {percent(mean_share(degraded.overlap))}."
    )


def between(found: Embedding) -> None:
    """How alike two networks arrange the images."""
    if found.between is None or not found.maps[0].neighbours.shape[1]:
        return
    one, k = found.between, found.maps[0].neighbours.shape[1]
    st.markdown(
        f"**A and B share {percent(one.mean)}** of each image's {counted(k, 'nearest neighbour')} "
        f"(by chance {chance_percent(one.chance)}). Turning and scaling leave "
        f"{measure(one.residual)} of the features' spread unexplained (0: the same arrangement, 1: nothing in common)."
    )


def warnings(found: Embedding) -> None:
    """Badges where a picture, or the sample, is too poor to be read."""
    for letter, one in zip("AB", found.maps, strict=False):
        for sentence in one.quality.warnings:
            st.warning(widgets.plain(f"{letter}: {sentence}"), icon=":material/warning:")


def tables(found: Embedding) -> None:
    """Every number, for both networks."""
    with st.expander("All numbers"):
        widgets.table(_quality_rows(found))
        key = ("severity rows", embedding_data.key_of(found.request))
        rows: list[Row] = explaining.results()(key, lambda: _severity_rows(found))
        if rows:
            st.markdown("**Under degradation**, placed into the clean map")
            widgets.table(rows)
        for letter, one in zip("AB", found.maps, strict=False):
            st.caption(widgets.plain(f"{letter}: {one.engine}. {' '.join(one.notes)}"))
    with st.expander("Classes: how closely they lie together, and how far they drift"):
        st.dataframe(_class_rows(found), hide_index=True)
        st.caption(
            "Silhouette: 1 for a class that lies together away from the others, below 0 for one that lies among them. "
            "Drift: how far the class's centre moves, in units of the mean distance between clean class centres. "
            "None: not defined."
        )


def _quality_rows(found: Embedding) -> list[Row]:
    return [
        {
            "network": f"{letter}: {one.model}",
            "layer": one.layer,
            "dimensions": f"{one.dimensions:,}",
            "k-NN accuracy": percent(one.quality.knn_accuracy),
            "in the picture": percent(one.quality.knn_accuracy_2d),
            "trustworthiness": measure(one.quality.trustworthiness, 4),
            "continuity": measure(one.quality.continuity, 4),
            "silhouette": measure(one.quality.mean_silhouette),
        }
        for letter, one in zip("AB", found.maps, strict=False)
    ]


def _severity_rows(found: Embedding) -> list[Row]:
    return [
        {
            "network": letter,
            "severity": f"{each.severity:g}",
            "network right": percent(accuracy(each.answers.predicted == found.labels)),
            "k-NN accuracy": percent(each.knn_accuracy),
            "neighbours kept": percent(mean_share(each.overlap)),
            "mean drift of classes": measure(_mean(each.drift)),
        }
        for letter, one in zip("AB", found.maps, strict=False)
        for each in one.degraded
    ]


def _class_rows(found: Embedding) -> list[Row]:
    counts = np.bincount(found.labels, minlength=len(found.classes))
    rows: list[Row] = []
    for number in np.flatnonzero(counts).tolist():
        row: Row = {"class": found.classes[number], "images": int(counts[number])}
        for letter, one in zip("AB", found.maps, strict=False):
            row[f"{letter}: silhouette"] = round(float(one.quality.silhouette[number]), 3)
            row[f"{letter}: nearest class"] = _nearest(found, one, number)
            if one.degraded:
                row[f"{letter}: drift at severity {one.degraded[-1].severity:g}"] = round(
                    float(one.degraded[-1].drift[number]), 3
                )
        rows.append(row)
    return rows


def _nearest(found: Embedding, one: Map, number: int) -> str:
    away = np.array(one.quality.distances[number], float)
    away[number] = np.inf
    away[np.isnan(away)] = np.inf
    best = int(away.argmin())
    return f"{found.classes[best]} ({away[best]:.2f})" if np.isfinite(away[best]) else ""


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan
