"""Losses: one file each. A loss says which labels it wants, and turns predictions and labels into one number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from dp_core.data.frame import Label
from dp_core.module import Array
from dp_core.outputs import Gradient

if TYPE_CHECKING:
    from dp_core.training.batch import TrainingBatch

__all__ = ["Loss"]


class Loss(Protocol):
    """What training needs to know of a loss.

    It is made by ``from_settings(settings, start_lr, output)``, which raises ConfigError for models of another output.
    """

    def labels(self, model: Any) -> list[Label]:
        """The labels it compares with; those that a frame lacks are left out of the loss."""

    def prefactors(self, learning_rate: float) -> dict[str, float]:
        """The weights of its terms at a learning rate."""

    def predict(self, model: Any, batch: TrainingBatch, gradient: Gradient) -> dict[str, Array]:
        """What it needs of a model."""

    def __call__(self, predicted: dict[str, Array], batch: TrainingBatch) -> tuple[Array, dict[str, Array]]:
        """The loss and the errors to display, by name; NaN for labels that no frame of the batch has."""
