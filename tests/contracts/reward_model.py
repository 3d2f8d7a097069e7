"""RewardDistributor in exact integers: what every call must do, or the error it must end with."""

from __future__ import annotations

from dataclasses import dataclass, field

from kit import Refused

DAY = 86_400
EPOCH = 7 * DAY
MAX_EPOCHS, MAX_EPOCH_BPS, MAX_ACCOUNT_BPS, MAX_ALLOWANCES = 4, 500, 500, 8
ZERO = "0x" + "00" * 20
POOL = "pool"
"""Stands for the bond token's stream where bonds that are lost go."""


@dataclass
class Pending:
    root: bytes
    total: int
    epoch: int
    finalizable_at: int
    publisher: str
    publisher_bond: int
    challenger_bond: int
    leaves: dict[str, int]
    challenger: str | None = None
    ruling_until: int = 0
    contested: bool = False


@dataclass
class Account:
    claimed: int = 0
    left: int = 0
    epoch: int = 0


@dataclass
class Stream:
    root: bytes = b"\0" * 32
    leaves: dict[str, int] = field(default_factory=dict)
    total: int = 0
    claimed: int = 0
    counted: int = 0
    epoch: int = 0
    caps: tuple[int, int] = (0, 0)
    next_caps: tuple[int, int] = (0, 0)
    caps_from: int = 0
    price: int = 0
    pending: Pending | None = None
    accounts: dict[str, Account] = field(default_factory=dict)


@dataclass
class RewardModel:
    """All streams, all bonds and all balances outside the distributor that its calls move."""

    bond_token: str
    genesis: int
    window: int
    resolve_period: int
    publisher_bond: int
    min_price: int
    max_price: int
    streams: dict[str, Stream] = field(default_factory=dict)
    bonds: int = 0
    paid: dict[tuple[str, str], int] = field(default_factory=dict)
    """(token, account) -> what the distributor paid out less what it took in."""

    def stream(self, token: str) -> Stream:
        return self.streams.setdefault(token, Stream(price=0))

    def epoch(self, now: int) -> int:
        return (now - self.genesis) // EPOCH + 1

    def caps(self, token: str, now: int) -> tuple[int, int]:
        stream = self.stream(token)
        return stream.next_caps if self.epoch(now) >= stream.caps_from else stream.caps

    def price(self, token: str) -> int:
        return min(max(self.stream(token).price, self.min_price), self.max_price)

    def funded(self, token: str) -> int:
        stream = self.stream(token)
        return stream.counted - stream.claimed

    def balance(self, token: str) -> int:
        """What the distributor holds of a token."""
        return self.funded(token) + (self.bonds if token == self.bond_token else 0)

    def _move(self, token: str, account: str, amount: int) -> None:
        self.paid[token, account] = self.paid.get((token, account), 0) + amount

    # ---------------------------------------------------------------------------------------------------------- calls

    def fund(self, token: str, account: str, amount: int) -> None:
        if amount == 0:
            raise Refused("RewardZeroAmount")
        self.stream(token).counted += amount
        self._move(token, account, -amount)

    def set_caps(self, token: str, epoch_cap: int, account_cap: int, now: int) -> None:
        present = self.caps(token, now)
        least = max(-(-present[1] // 2), 1)
        if not least <= account_cap <= epoch_cap * MAX_ACCOUNT_BPS // 10_000:
            raise Refused("RewardCapInvalid")
        stream = self.stream(token)
        first = present[1] == 0
        stream.caps = (epoch_cap, account_cap) if first else present
        stream.next_caps = (epoch_cap, account_cap)
        stream.caps_from = self.epoch(now) + (0 if first else 1)

    def allowed_increase(self, token: str, now: int) -> int:
        per_epoch = min(self.caps(token, now)[0], self.funded(token) * MAX_EPOCH_BPS // 10_000)
        return per_epoch * min(self.epoch(now) - self.stream(token).epoch, MAX_EPOCHS)

    def propose(self, token: str, publisher: str, root: bytes, total: int, leaves: dict[str, int], now: int) -> None:
        stream, epoch = self.stream(token), self.epoch(now)
        if stream.pending:
            raise Refused("RewardPending")
        if epoch <= stream.epoch:
            raise Refused("RewardEpochTaken")
        if self.caps(token, now)[0] == 0:
            raise Refused("RewardCapsUnset")
        if total < stream.total:
            raise Refused("RewardTotalDecreased")
        if total - stream.claimed > self.funded(token):
            raise Refused("RewardUnderfunded")
        if total - stream.total > self.allowed_increase(token, now):
            raise Refused("RewardEpochCapExceeded")
        stream.pending = Pending(
            root=root,
            total=total,
            epoch=epoch,
            finalizable_at=now + self.window,
            publisher=publisher,
            publisher_bond=self.publisher_bond,
            challenger_bond=self.price(token),
            leaves=dict(leaves),
        )
        self._post(publisher, self.publisher_bond)

    def finalize(self, token: str, now: int) -> None:
        stream, pending = self._pending(token)
        if pending.challenger:
            raise Refused("RewardChallenged")
        if now < pending.finalizable_at:
            raise Refused("RewardWindowOpen")
        stream.root, stream.total, stream.epoch = pending.root, pending.total, pending.epoch
        stream.leaves, stream.pending = pending.leaves, None
        if not pending.contested:
            stream.price = self.price(token) // 2
        self._settle(pending.publisher, pending.publisher_bond)

    def challenge(self, token: str, challenger: str, now: int) -> None:
        _, pending = self._pending(token)
        if pending.challenger:
            raise Refused("RewardChallenged")
        if now >= pending.finalizable_at:
            raise Refused("RewardWindowClosed")
        pending.challenger, pending.contested = challenger, True
        pending.ruling_until = now + self.resolve_period
        self._post(challenger, pending.challenger_bond)

    def resolve(self, token: str, uphold: bool, now: int) -> None:
        stream, pending = self._challenged(token)
        if now >= pending.ruling_until:
            raise Refused("RewardRulingClosed")
        if uphold:
            winner = None if pending.challenger == pending.publisher else pending.challenger
            self._reject(stream, pending, winner)
            return
        stream.price = self.price(token) * 2
        half = 0 if pending.challenger == pending.publisher else pending.challenger_bond // 2
        self._settle(pending.publisher, half)
        self._settle(POOL, pending.challenger_bond - half)
        pending.challenger, pending.ruling_until = None, 0
        pending.challenger_bond, pending.finalizable_at = self.price(token), now + self.window

    def expire(self, token: str, now: int) -> None:
        stream, pending = self._challenged(token)
        if now < pending.ruling_until:
            raise Refused("RewardRulingOpen")
        loss = min(pending.publisher_bond, pending.challenger_bond)
        self._settle(pending.publisher, pending.publisher_bond - loss)
        self._settle(pending.challenger, pending.challenger_bond - loss)
        self._settle(POOL, 2 * loss)
        stream.price = self.price(token) * 2
        stream.pending = None

    def kill(self, token: str) -> None:
        stream, pending = self._pending(token)
        self._settle(pending.publisher, pending.publisher_bond)
        if pending.challenger:
            self._settle(pending.challenger, pending.challenger_bond)
        stream.pending = None

    def prove_fraud(self, token: str, prover: str) -> None:
        """A proof of fraud that holds."""
        self._reject(*self._pending(token), prover)

    def allowance(self, token: str, account: str, now: int) -> int:
        entry, cap = self.stream(token).accounts.get(account, Account()), self.caps(token, now)[1]
        if entry.epoch == 0:
            return cap
        return min(MAX_ALLOWANCES * cap, entry.left + cap * (self.epoch(now) - entry.epoch))

    def claim(self, token: str, account: str, cumulative: int, now: int) -> int:
        stream = self.stream(token)
        if stream.leaves.get(account) != cumulative:
            raise Refused("RewardInvalidProof")
        entry = stream.accounts.setdefault(account, Account())
        due = cumulative - entry.claimed
        if due <= 0:
            raise Refused("RewardNothingDue")
        left = self.allowance(token, account, now)
        paid = min(due, left)
        if paid == 0:
            raise Refused("RewardAccountCapExceeded")
        if stream.claimed + paid > stream.total:
            raise Refused("RewardTotalExceeded")
        stream.claimed += paid
        entry.claimed, entry.left, entry.epoch = entry.claimed + paid, left - paid, self.epoch(now)
        self._move(token, account, paid)
        return paid

    # ------------------------------------------------------------------------------------------------------ internals

    def _pending(self, token: str) -> tuple[Stream, Pending]:
        stream = self.stream(token)
        if stream.pending is None:
            raise Refused("RewardNoPending")
        return stream, stream.pending

    def _challenged(self, token: str) -> tuple[Stream, Pending]:
        stream, pending = self._pending(token)
        if pending.challenger is None:
            raise Refused("RewardNotChallenged")
        return stream, pending

    def _reject(self, stream: Stream, pending: Pending, winner: str | None) -> None:
        half = pending.publisher_bond // 2 if winner else 0
        if pending.challenger:
            self._settle(pending.challenger, pending.challenger_bond)
        if winner:
            self._settle(winner, half)
        self._settle(POOL, pending.publisher_bond - half)
        stream.pending = None

    def _post(self, account: str, amount: int) -> None:
        self.bonds += amount
        self._move(self.bond_token, account, -amount)

    def _settle(self, to: str, amount: int) -> None:
        self.bonds -= amount
        if to == POOL:
            self.stream(self.bond_token).counted += amount
        else:
            self._move(self.bond_token, to, amount)
