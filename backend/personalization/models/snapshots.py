"""Models on disk: a folder of arrays, written once, checked by hash, read memory-mapped."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from backend.files import sync
from backend.personalization.models.linear import ItemItem
from backend.personalization.ranking.scoring import Norm, Weights

FORMAT = "troupe-model/2"


class BrokenSnapshot(Exception):
    """A snapshot's files are not what was written; train again or go back to an older one."""


@dataclass(frozen=True)
class Model:
    """All that training learned: which works go together, what they are about, and what is usual among people."""

    items: ItemItem
    work_ids: NDArray[np.int64]
    """Sorted; the works of the arrays below. Those nobody has liked yet are among them, and not in `items`."""
    popularity: NDArray[np.float64]
    """How many people liked each work."""
    familiar: NDArray[np.float64]
    """log1p of the same, halved every 30 days."""
    content: NDArray[np.float32]
    """Unit rows."""
    people: int
    liking: Norm
    mainstream: Norm
    weights: Weights


def _arrays(model: Model) -> dict[str, NDArray[Any]]:
    matrix = model.items.matrix
    return {
        "item_ids": model.items.work_ids,
        "data": matrix.data,
        "indices": matrix.indices,
        "indptr": matrix.indptr,
        "work_ids": model.work_ids,
        "popularity": model.popularity,
        "familiar": model.familiar,
        "content": model.content,
    }


def write(models: Path, model: Model) -> str:
    """Write a model below `models`; returns its folder's name, a hash of its content: the same model is one folder."""
    models.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=models))
    try:
        digests = {}
        for name, array in _arrays(model).items():
            file = partial / f"{name}.npy"
            np.save(file, array, allow_pickle=False)
            digests[name] = sha256(file.read_bytes()).hexdigest()
            sync(file)
        learned = {
            "people": model.people,
            "liking": asdict(model.liking),
            "mainstream": asdict(model.mainstream),
            "weights": asdict(model.weights),
        }
        manifest = json.dumps({"format": FORMAT, "sha256": digests, **learned}, sort_keys=True).encode()
        (partial / "manifest.json").write_bytes(manifest)
        sync(partial / "manifest.json")
        name = sha256(manifest).hexdigest()[:24]
        if not (models / name).exists():
            partial.rename(models / name)
            sync(models)
        return name
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def read(models: Path, name: str) -> Model:
    """Open a snapshot; raises BrokenSnapshot when a file is missing or differs from what was written."""
    folder = models / name
    try:
        manifest = json.loads((folder / "manifest.json").read_bytes())
        if manifest["format"] != FORMAT:
            raise BrokenSnapshot(f"model {name} has the form {manifest['format']}, which this version does not read")
        loaded: dict[str, NDArray[Any]] = {}
        for array, digest in manifest["sha256"].items():
            file = folder / f"{array}.npy"
            if sha256(file.read_bytes()).hexdigest() != digest:
                raise BrokenSnapshot(f"{array} of model {name} is not what was written")
            loaded[array] = np.load(file, mmap_mode="r", allow_pickle=False)
        size = len(loaded["item_ids"])
        matrix = sparse.csr_array((loaded["data"], loaded["indices"], loaded["indptr"]), shape=(size, size))
        return Model(
            items=ItemItem(np.asarray(loaded["item_ids"]), matrix),
            **{key: np.asarray(loaded[key]) for key in ("work_ids", "popularity", "familiar", "content")},
            people=int(manifest["people"]),
            liking=Norm(**manifest["liking"]),
            mainstream=Norm(**manifest["mainstream"]),
            weights=Weights(**manifest["weights"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BrokenSnapshot(f"model {name} cannot be read: {error}") from error
