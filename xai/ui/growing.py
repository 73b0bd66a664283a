"""A picture that is shown while a job makes it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import streamlit as st
import torch
from torch import Tensor

from data import thumbnails

SIDE = 256
"""Least width in px of each growing picture on the page."""


@dataclass
class Growing:
    """The pictures as far as they have come, written by the job and read by its visitor's page."""

    picture: np.ndarray | None = None

    def show(self) -> None:
        """Draw them as they are now."""
        if self.picture is not None:
            st.image(self.picture, width=self.picture.shape[1], alt="The picture as far as it has come.")

    def take(self, pictures: Tensor) -> None:
        """Keep the pictures `(N, 3, S, S)` in [0, 1], beside each other."""
        self.picture = thumbnails.enlarged(torch.cat(list(pictures), dim=2), SIDE)
