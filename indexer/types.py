"""The names that chain data goes by, in the indexer and in the backend."""

from __future__ import annotations

from typing import NewType

Address = NewType("Address", str)
"""An account or contract as people see it: 0x and 40 hex digits with EIP-55's checksum. Tables hold the 20 bytes."""

Hash32 = NewType("Hash32", bytes)
"""32 bytes: the hash of a block, transaction, tree or file."""

BlockNumber = NewType("BlockNumber", int)
WorkId = NewType("WorkId", int)
"""A work's id in the registry, from 1; 0 is the platform itself."""

Epoch = NewType("Epoch", int)
"""A reward epoch, from 1."""

Wei = NewType("Wei", int)
"""An amount in base units of its token, native coin or ERC-20."""

Bps = NewType("Bps", int)
"""A share in basis points: 1/10,000."""

Cid = NewType("Cid", str)
"""An IPFS content id (CIDv1, base32)."""
