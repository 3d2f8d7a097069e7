"""Every model module, imported: what migrations and tests look at."""

from __future__ import annotations

import importlib
import pkgutil

from sqlalchemy import MetaData

import backend.models
from backend.models.base import Base


def load() -> MetaData:
    """Import all modules of backend.models and return the metadata that they filled."""
    for module in pkgutil.iter_modules(backend.models.__path__):
        importlib.import_module(f"backend.models.{module.name}")
    return Base.metadata
