"""What is written down of a run while it trains: metrics.jsonl, TensorBoard, and MLflow where asked for.

metrics.jsonl is the record: its lines beyond the checkpoint that a run resumes from are dropped, and TensorBoard is
told to forget them too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from physics.errors import InputError
from train.checkpoint import METRICS_FILE, TENSORBOARD_FOLDER, is_unfinished, read_metrics, replace_metrics
from train.settings import TrainSettings


class RunLog:
    """Writers of one run in the folder `run`; `last_step` is the step that the run goes on from.

    Raises InputError where MLflow is asked for and not there.
    """

    def __init__(self, run: Path, settings: TrainSettings, last_step: int) -> None:
        self.path = run / METRICS_FILE
        self._mlflow = _mlflow_run(run, settings) if settings.mlflow else None
        replace_metrics(run, [record for record in read_metrics(run) if record["step"] <= last_step])
        for file in run.iterdir():
            if is_unfinished(file.name):
                file.unlink()
        self._board = None
        if settings.tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(run / TENSORBOARD_FOLDER), purge_step=last_step + 1 if last_step else None)

    def write(self, values: Mapping[str, Any], under: str) -> None:
        """Write the numbers of a step; `under` is "train" or "val"."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(dict(values)) + "\n")
        numbers = {k: v for k, v in values.items() if isinstance(v, int | float) and k != "step"}
        if self._board:
            for name, value in numbers.items():
                self._board.add_scalar(f"{under}/{name.removeprefix('val_')}", value, values["step"])
        if self._mlflow:
            self._mlflow.log_metrics({f"{under}/{name}": float(value) for name, value in numbers.items()}, step=values["step"])

    def show(self, pictures: Sequence[np.ndarray], step: int) -> None:
        """Show pictures (Y, X, 3) uint8 in TensorBoard."""
        if self._board:
            for number, picture in enumerate(pictures):
                self._board.add_image(f"val/{number}", picture, step, dataformats="HWC")

    def close(self) -> None:
        if self._board:
            self._board.close()
        if self._mlflow:
            self._mlflow.end_run()


def require_mlflow(settings: TrainSettings) -> None:
    """Raise InputError where MLflow is asked for and cannot be imported."""
    if settings.mlflow:
        try:
            import mlflow  # noqa: F401
        except ImportError:
            raise InputError(f"mlflow must be installed to log to it, got mlflow={settings.mlflow}; pip install mlflow") from None


def _mlflow_run(run: Path, settings: TrainSettings) -> Any:
    """MLflow with a run of this folder's name begun at the tracking URI of the settings."""
    require_mlflow(settings)
    import mlflow

    mlflow.set_tracking_uri(settings.mlflow)
    mlflow.set_experiment("gdotb")
    mlflow.start_run(run_name=run.name)
    mlflow.log_params(_flat(settings.to_dict()))
    return mlflow


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat
