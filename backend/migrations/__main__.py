"""`python -m backend.migrations`: the same as backend.migrations.upgrade."""

from __future__ import annotations

from backend.migrations.upgrade import main

raise SystemExit(main())
