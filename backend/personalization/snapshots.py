"""Model snapshots on disk: a folder of arrays, written once, checked by hash, read memory-mapped."""

from __future__ import annotations

import json
import shutil
import tempfile
from hashlib import sha256
from pathlib import Path

import numpy as np
from scipy import sparse

from backend.files import sync
from backend.personalization.linear import ItemItem

_ARRAYS = ("work_ids", "data", "indices", "indptr")


class BrokenSnapshot(Exception):
    """A snapshot's files are not what was written; train again or go back to an older one."""


def write(models: Path, model: ItemItem) -> str:
    """Write a model below `models`; returns its folder's name, a hash of its content: the same model is one folder."""
    arrays = {
        "work_ids": model.work_ids,
        "data": model.matrix.data,
        "indices": model.matrix.indices,
        "indptr": model.matrix.indptr,
    }
    models.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=models))
    try:
        digests = {}
        for name in _ARRAYS:
            file = partial / f"{name}.npy"
            np.save(file, arrays[name], allow_pickle=False)
            digests[name] = sha256(file.read_bytes()).hexdigest()
            sync(file)
        manifest = json.dumps({"format": "troupe-item-item/1", "sha256": digests}, sort_keys=True).encode()
        (partial / "manifest.json").write_bytes(manifest)
        sync(partial / "manifest.json")
        name = sha256(manifest).hexdigest()[:24]
        if not (models / name).exists():
            partial.rename(models / name)
            sync(models)
        return name
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def read(models: Path, name: str) -> ItemItem:
    """Open a snapshot; raises BrokenSnapshot when a file is missing or differs from what was written."""
    folder = models / name
    try:
        manifest = (folder / "manifest.json").read_bytes()
        digests = json.loads(manifest)["sha256"]
        for array in _ARRAYS:
            if sha256((folder / f"{array}.npy").read_bytes()).hexdigest() != digests[array]:
                raise BrokenSnapshot(f"{array} of model {name} is not what was written")
        loaded = {a: np.load(folder / f"{a}.npy", mmap_mode="r", allow_pickle=False) for a in _ARRAYS}
    except (OSError, ValueError, KeyError) as error:
        raise BrokenSnapshot(f"model {name} cannot be read: {error}") from error
    size = len(loaded["work_ids"])
    matrix = sparse.csr_array((loaded["data"], loaded["indices"], loaded["indptr"]), shape=(size, size))
    return ItemItem(np.asarray(loaded["work_ids"]), matrix)
