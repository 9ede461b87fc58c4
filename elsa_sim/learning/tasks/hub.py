"""Texts from the Hugging Face hub, or from a local folder that the `datasets` library loads.

Needs the extra ``[hub]`` and, for a data set that is not in the local cache, the network. `datasets` 4 or newer:
older versions may run code that comes with a data set.

Does not model: streaming; columns that hold lists, images or audio.

Tested in tests/learning/tasks/test_tasks.py.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from ...base.context import Context
from ...base.errors import Fault, InputFaults
from ...base.registry import Items
from .base import Task, Texts, fault
from .tables import Rows, Table, encode, extract


class Hub(Task):
    """Texts from a data set of the Hugging Face hub (extra `[hub]`)."""

    kind: Literal["hub"] = "hub"
    dataset: str
    """Name on the hub, such as `fancyzhx/ag_news`, or a local folder."""
    config: str | None = None
    """Configuration of the data set, where it has several."""
    revision: str | None = None
    """Commit or tag on the hub; name one to be able to repeat a run."""
    train_split: str = "train"
    """Split of the training texts; slices such as `train[:5000]` work."""
    test_split: str = "test"
    """Split of the test texts."""
    text_column: str | int | Items[tuple[str | int, ...]] = "text"
    """Column of the text, by name or by number from 0; several columns are joined."""
    label_column: str | int = "label"
    """Column of the label, by name or by number from 0; not used for causal_lm."""
    text_separator: str = " "
    """What stands between joined columns."""

    def load(self, context: Context) -> Texts:
        """Load both splits and number the classes, named as the data set names them.

        Raises:
            InputFaults: the library is missing, the data set cannot be had, or its rows cannot be used.
        """
        text = self.text_column if isinstance(self.text_column, tuple) else (self.text_column,)
        label = None if self.objective == "causal_lm" else self.label_column
        faults: list[Fault] = []
        rows: dict[str, Rows] = {}
        for key, split in (("train_split", self.train_split), ("test_split", self.test_split)):
            try:
                rows[key] = extract(self._table(key, split), key, text, label, self.text_separator)
            except InputFaults as error:
                faults += [each for each in error.faults if each not in faults]
        if faults:
            raise InputFaults(faults)
        return encode(rows["train_split"], rows["test_split"], paths=("train_split", "test_split"))

    def files(self) -> Mapping[str, Path]:
        """The files of a local folder."""
        folder = Path(self.dataset)
        found = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
        return {f"{self.dataset}/{path.relative_to(folder).as_posix()}": path for path in found}

    def _table(self, key: str, split: str) -> Table:
        try:
            datasets: Any = importlib.import_module("datasets")
        except ImportError:
            raise fault("kind", "the library `datasets` is not installed; pip install 'elsa-sim[hub]'") from None
        if int(str(datasets.__version__).partition(".")[0]) < 4:
            raise fault("kind", f"`datasets` {datasets.__version__} is too old; pip install 'datasets>=4'")
        try:
            data = datasets.load_dataset(self.dataset, self.config, split=split, revision=self.revision)
            columns = {name: _values(data, name) for name in data.column_names}
            count = len(data)
        except Exception as error:  # whatever the library, its file systems or the network raise
            where = key if "split" in str(error).lower() else "dataset"
            reason = (str(error).strip() or "no reason given").splitlines()[0][:300]
            raise fault(
                where,
                f"{self.dataset!r} (split {split!r}) cannot be loaded: {type(error).__name__}: "
                f"{reason}; offline, only data sets in the local cache or a local folder "
                "can be used",
            ) from error
        return Table(f"{self.dataset} ({split})", columns, range(1, count + 1))


def _values(data: Any, column: str) -> list[Any]:
    """A column as a list; class numbers become class names (a missing one, -1 or ``None``, becomes ``None``)."""
    values: Iterable[Any] = data[column]
    names = getattr(data.features[column], "names", None)
    if names is None:
        return list(values)
    return [None if value is None or value < 0 else names[value] for value in values]
