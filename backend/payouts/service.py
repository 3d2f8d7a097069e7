"""Payouts: what a holder has earned, what can be withdrawn and by which transactions. Reads only; see reading.py."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager

from anyio import to_thread
from sqlalchemy.orm import Session

from backend.chain import NATIVE, ChainInfo
from backend.content import service as content
from backend.content.media import TEXT
from backend.content.store import ContentStore
from backend.db import AsyncPool, Database
from backend.deps import Core
from backend.errors import AppError, Unavailable
from backend.intents import Intent, call_intent
from backend.pagination import encode_cursor
from backend.payouts import forecast, trees
from backend.payouts.ledger import Ledger, Settle
from backend.payouts.reading import Books, Connection, TreesUnresolved, read_books, snapshot
from backend.payouts.schemas import (
    Claim,
    Claims,
    ProofNode,
    SettleStep,
    Summary,
    TokenFigures,
    TokenInfo,
    WorkFigures,
)
from backend.web.format import exact
from backend.works.splits import MAX_TREE_FILE_BYTES, Share, SplitTree, tree_file

CLAIMS = "claims"
SETTLES_A_TRANSACTION = 100
"""So that a transaction stays far below a block's gas (a first settlement costs about 82,000)."""

_trees = trees.TreeCache()


class Payouts:
    """What the payout routes need of a process: its databases, the deployment, the content store."""

    def __init__(self, database: Database, chain: ChainInfo, store: ContentStore) -> None:
        self.database = database
        self.chain = chain
        self.store = store

    @classmethod
    def of(cls, core: Core) -> Payouts:
        """The payouts service of a process."""
        return cls(core.database, core.chain, content.open_store(core.settings))

    @property
    def pool(self) -> AsyncPool:
        return self.database.async_pool

    def keep_platform_tree(self, session: Session) -> None:
        """Publish the tree file of the platform's first split, which the deployment wrote into its manifest."""
        stated = self.chain.manifest.parameters.get("platformSplit")
        if stated is None:
            return
        file = tree_file([Share(leaf["account"], int(leaf["weight"])) for leaf in stated["leaves"]])
        if content.read_by_sha256(session, self.store, hashlib.sha256(file).digest(), MAX_TREE_FILE_BYTES) is None:
            content.keep(session, self.store, [file], TEXT)

    def resolve_trees(self) -> int:
        """Look for the trees of all splits that are new (sync, with a session of its own)."""
        with self.database.session() as session:
            self.keep_platform_tree(session)
            return trees.resolve(session, self.store)

    def retry_trees(self) -> int:
        """Look again for the trees that were not found (sync, with a session of its own)."""
        with self.database.session() as session:
            self.keep_platform_tree(session)
            return trees.retry_incomplete(session, self.store)

    @asynccontextmanager
    async def reading(self, account: str, also: Iterable[int] = ()) -> AsyncIterator[tuple[Connection, Books]]:
        """The holder's books with the snapshot that they were read in. Raises Unavailable."""
        for _ in range(5):
            async with snapshot(self.pool) as connection:
                try:
                    books = await read_books(connection, account, also)
                except TreesUnresolved:
                    books = None
                if books is not None:
                    yield connection, books
                    return
            await to_thread.run_sync(self.resolve_trees)
        raise Unavailable("Splits change faster than they can be read; try again.", code="splits_busy")

    async def books(self, account: str, also: Iterable[int] = ()) -> Books:
        """The holder's books in one state of the mirror. Raises Unavailable when that can't be had."""
        async with self.reading(account, also) as (_, books):
            return books

    def token(self, address: str) -> TokenInfo:
        """A currency; one that the deployment doesn't list is shown by its address, in base units."""
        try:
            known = self.chain.token(address)
        except LookupError:
            return TokenInfo(address=address, symbol=f"{address[:6]}…{address[-4:]}", decimals=0)
        return TokenInfo(address=known.address, symbol=known.symbol, decimals=known.decimals)

    def token_order(self, tokens: Iterable[str]) -> list[str]:
        """The native coin, then the deployment's tokens in their order, then the others."""
        listed = [str(address) for address in self.chain.tokens]
        return sorted(tokens, key=lambda token: (listed.index(token) if token in listed else len(listed), token))

    # --- the summary ---------------------------------------------------------------------------------------------

    def summary(self, books: Books) -> Summary:
        """The holder's money by currency and work."""
        found = _forecast(books)
        tokens = self.token_order({NATIVE, *(claim.token for claim in found)})
        return Summary(
            address=books.account,
            as_of=books.head.as_of,
            final_block=books.head.final_number,
            tokens=[
                self._figures(books, token, [claim for claim in found if claim.token == token]) for token in tokens
            ],
        )

    def _figures(self, books: Books, token: str, found: Sequence[forecast.Claim]) -> TokenFigures:
        works = sorted({claim.holding.work for claim in found})
        rows = [
            WorkFigures(work_id=work, stopped_until=books.stopped_until(work), **_sums(_of_work(found, work)))  # type: ignore[arg-type]
            for work in works
        ]
        rows.sort(key=lambda row: (-row.earned, row.work_id))
        return TokenFigures(token=self.token(token), works=rows, **_sums(found))

    # --- claims --------------------------------------------------------------------------------------------------

    async def claims(self, books: Books, *, after: tuple[int, int, int, str] | None, limit: int) -> Claims:
        """A page of what can be withdrawn, with proofs and intents; `after` is the last claim of the page before."""
        due = [claim for claim in _forecast(books) if claim.amount]
        rest = [claim for claim in due if after is None or claim_key(claim) > after]
        page = rest[:limit]
        found = await to_thread.run_sync(self._trees, books, [claim.holding for claim in page])
        provable = [claim for claim in page if (claim.holding.work, claim.holding.version) in found]
        items = [self._claim(books, claim, found[claim.holding.work, claim.holding.version]) for claim in provable]
        payable = [claim for claim in provable if books.stopped_until(claim.holding.work) is None]
        last = claim_key(page[-1]) if len(rest) > limit else None
        return Claims(
            address=books.account,
            as_of=books.head.as_of,
            items=items,
            intents=[
                *self.settle_intents(_once(settle for claim in payable for settle in claim.settles)),
                *(intent for item in items if item.stopped_until is None for intent in item.intents[-1:]),
            ],
            next=None if last is None else encode_cursor(CLAIMS, *last),
        )

    def _trees(self, books: Books, holdings: Iterable[forecast.Holding]) -> dict[tuple[int, int], SplitTree]:
        wanted = [
            trees.Wanted(held.work, held.version, books.roots[held.work, held.version], held.position)
            for held in holdings
        ]
        with self.database.session() as session:
            return _trees.find(session, wanted, self.store)

    def _claim(self, books: Books, claim: forecast.Claim, tree: SplitTree) -> Claim:
        holding = claim.holding
        proof = trees.proof(tree, holding.position)
        token = self.token(claim.token)
        call = (holding.work, holding.version, claim.token, books.account, holding.weight, proof.path)
        withdraw = call_intent(
            self.chain,
            "RevenueLedger",
            "withdraw",
            [call, [tuple(node) for node in proof.nodes]],
            description=f"Withdraw {exact(claim.amount, token.decimals)} {token.symbol} of work {holding.work}",
        )
        return Claim(
            work_id=holding.work,
            version=holding.version,
            position=holding.position,
            token=token,
            weight=holding.weight,
            total_weight=books.ledger.works[holding.work].splits[holding.version].total_weight,
            amount=claim.amount,
            claimable=claim.now,
            settles=[step(books.ledger, settle) for settle in claim.settles],
            path=proof.path,
            proof=[ProofNode(hash=node.hash, sum=node.sum) for node in proof.nodes],
            stopped_until=books.stopped_until(holding.work),  # type: ignore[arg-type]  # a block time
            intents=[*self.settle_intents(claim.settles), withdraw],
        )

    def settle_intents(self, settles: Sequence[Settle]) -> list[Intent]:
        """Transactions that run settlements in the given order, no more than a hundred each."""
        batches = [settles[i : i + SETTLES_A_TRANSACTION] for i in range(0, len(settles), SETTLES_A_TRANSACTION)]
        return [
            call_intent(
                self.chain,
                "RevenueLedger",
                "settleMany",
                [[tuple(settle) for settle in batch]],
                description=_settle_words(batch),
            )
            for batch in batches
        ]


def step(ledger: Ledger, settle: Settle) -> SettleStep:
    """A settlement as answers show it."""
    parent = ledger.works[settle.work].edges[settle.edge].parent
    return SettleStep(work_id=settle.work, edge=settle.edge, parent_id=parent)


def claim_key(claim: forecast.Claim) -> tuple[int, int, int, str]:
    """The order of claims."""
    return claim.holding.work, claim.holding.version, claim.holding.position, claim.token


def _forecast(books: Books) -> list[forecast.Claim]:
    """The claims on the books. Raises AppError when by the mirror somebody took more than was theirs."""
    ledger = books.ledger
    for token in sorted(books.tokens):
        for work, target in ledger.works.items():
            for edge in range(len(target.edges)):
                if (owed := ledger.owed(work, edge, token)) < 0:
                    raise _overdrawn(f"settled by edge {edge} of work {work}", -owed, token, work_id=work, edge=edge)
    found = forecast.claims(ledger, books.holdings, books.tokens)
    for claim in found:
        if claim.now < 0:
            work, version = claim.holding.work, claim.holding.version
            what = f"withdrawn from work {work}, split version {version}"
            raise _overdrawn(what, -claim.now, claim.token, work_id=work, version=version)
    return found


def _overdrawn(what: str, amount: int, token: str, **place: int) -> AppError:
    return AppError(
        500,
        "books_overdrawn",
        "The books do not add up",
        f"By our mirror of the chain {amount} base units too much were {what}, which the contract cannot have done:"
        " the operator should run `python -m indexer verify`.",
        token=token,
        overdrawn=str(amount),
        **place,
    )


def _of_work(found: Iterable[forecast.Claim], work: int) -> list[forecast.Claim]:
    return [claim for claim in found if claim.holding.work == work]


def _sums(found: Iterable[forecast.Claim]) -> dict[str, int]:
    claims = list(found)
    return {
        "earned": sum(claim.earned for claim in claims),
        "withdrawn": sum(claim.withdrawn for claim in claims),
        "claimable": sum(claim.now for claim in claims),
        "upstream": sum(claim.amount - claim.now for claim in claims),
    }


def _once(settles: Iterator[Settle]) -> list[Settle]:
    """Each settlement once; children have higher ids, so descending order is child first."""
    return sorted(set(settles), key=lambda settle: (-settle.work, settle.edge, settle.token))


def _settle_words(batch: Sequence[Settle]) -> str:
    works = sorted({settle.work for settle in batch})
    return f"Settle what {len(works)} derived work{'s owe' if len(works) > 1 else ' owes'} to the works above"
