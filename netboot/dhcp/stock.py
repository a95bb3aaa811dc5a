"""The state of one network's dynamic addresses: free, leased, promised to a machine, or resting.

A hint that makes every choice cheap: what really is leased stands in the store, which decides. An address
is in one of four places, and finding one for a new machine looks at a bounded number of them, however large
and however full the range is:

- free: nobody has a lease of it;
- aging: leased, ordered by its holder's last sign of life, so that the one that is gone longest comes first;
- living: leased, but looked at already: its holder lived; it is looked at again after `ASK_AGAIN`;
- away: promised in an OFFER, or resting.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Iterator

from netboot.dhcp.pool import Addresses, Free, draws
from netboot.model.lease import Lease
from netboot.model.machine import Mac

PROMISE = 10.0
"""Seconds for which an offered address is offered to nobody else, where there is another one."""

PROMISES = 4096
"""Promises that stand in one network at once; a flood of invented machines makes the oldest lapse."""

ASK_AGAIN = 1.0
"""Seconds after which a holder that lived longer than its lease is looked at again."""

LOOKS = 64
"""Holders that are looked at for one new machine at most, in each of the two queues."""


class Stock:
    """The dynamic addresses of one network, as numbers. Times are seconds since the epoch."""

    def __init__(self, addresses: Addresses, leases: Iterable[Lease]) -> None:
        self.addresses = addresses
        self.never = addresses.taken()
        self.exhausted_since: float | None = None
        """When a machine was turned away for want of an address, and none was found since."""
        self._free = Free(addresses.places)
        for place in self.never:
            self._free.take(place)
        self._aging: OrderedDict[int, float] = OrderedDict()
        self._living: OrderedDict[int, float] = OrderedDict()
        self._away: dict[int, bool] = {}
        """Promised and resting ones, and whether they are leased."""
        self._promised: OrderedDict[int, tuple[str, float]] = OrderedDict()
        self._promised_to: dict[str, int] = {}
        self._resting: set[int] = set()
        for seen, number in sorted((_seen(lease), int(lease.address)) for lease in leases):
            at = self._place(number)
            if at is not None and self._free.take(at):
                self._aging[number] = seen

    def __contains__(self, number: int) -> bool:
        return self._place(number) is not None

    @property
    def size(self) -> int:
        """How many addresses can be given at all."""
        return self.addresses.places - len(self.never)

    @property
    def unused(self) -> int:
        """How many have no lease, no promise and no rest."""
        return len(self._free)

    @property
    def resting(self) -> int:
        """How many rest."""
        return len(self._resting)

    def fits(self, addresses: Addresses) -> bool:
        """Whether these are still the addresses of the network, after a reload."""
        if addresses is self.addresses:
            return True
        same = self.addresses.spans == addresses.spans and self.never == addresses.taken()
        if same:
            self.addresses = addresses
        return same

    # What happens to an address

    def leased(self, lease: Lease) -> None:
        """This lease was written."""
        number = int(lease.address)
        place = self._place(number)
        if place is None:
            return
        self._unpromise(number)
        if number in self._resting:
            self._away[number] = True
            return
        self._free.take(place)
        self._away.pop(number, None)
        self._living.pop(number, None)
        self._aging[number] = _seen(lease)
        self._aging.move_to_end(number, last=not lease.released)

    def noticed(self, lease: Lease | None) -> None:
        """This lease was there already; another replica wrote it."""
        place = self._place(int(lease.address)) if lease is not None else None
        if lease is not None and place is not None and place in self._free:
            self.leased(lease)

    def freed(self, number: int) -> None:
        """There is no lease of this address any more."""
        place = self._place(number)
        if place is None:
            return
        self._aging.pop(number, None)
        self._living.pop(number, None)
        if number in self._away:
            self._away[number] = False
        else:
            self._free.give(place)

    def promise(self, number: int, holder: str, now: float) -> None:
        """This address is offered to `holder`."""
        if self._place(number) is None:
            return
        self._unpromise(number)
        if (before := self._promised_to.get(holder)) is not None:
            self._back(before)
        self._leave(number)
        self._promised[number] = (holder, now + PROMISE)
        self._promised_to[holder] = number
        if len(self._promised) > PROMISES:
            self._back(next(iter(self._promised)))

    def rest(self, number: int) -> None:
        """This address is given to nobody until `rested`."""
        if self._place(number) is not None:
            self._leave(number)
            self._resting.add(number)
            self._unpromise(number)

    def rested(self, number: int) -> None:
        """The rest is over."""
        if number in self._resting:
            self._resting.discard(number)
            self._back(number)

    # What a new machine may have

    def promised_to(self, holder: str, now: float) -> int | None:
        """What this machine was offered a moment ago."""
        self._lapse(now)
        return self._promised_to.get(holder)

    def promised_to_another(self, number: int, holder: str, now: float) -> bool:
        """Whether an address is offered to another machine now."""
        other, until = self._promised.get(number, (holder, 0.0))
        return other != holder and now < until

    def pick(self, mac: Mac, now: float) -> int | None:
        """A free address, each as likely as any other; the same again for this MAC while it is free."""
        self._lapse(now)
        count = len(self._free)
        if not count:
            return None
        wish, turn = draws(mac)
        place = wish % self.addresses.places
        return self.addresses.at(place if place in self._free else self._free[turn % count])

    def gone(self, before: float, now: float) -> Iterator[int]:
        """Leased addresses whose holders may be gone: unseen since `before`, the longest unseen first.

        Whoever takes one promises or leases it; one that was passed over comes again after `ASK_AGAIN`.
        """
        self._lapse(now)
        for _ in range(LOOKS):
            number = next(iter(self._aging), None)
            if number is None or self._aging[number] > before:
                break
            self._pass_over(number, now)
            yield number
        for _ in range(LOOKS):
            number = next(iter(self._living), None)
            if number is None or self._living[number] > now:
                break
            self._pass_over(number, now)
            yield number

    def oldest_promise(self) -> int | None:
        """The address whose promise lapses first: where there is no other, the faster one gets it."""
        return next(iter(self._promised), None)

    def _pass_over(self, number: int, now: float) -> None:
        self._aging.pop(number, None)
        self._living[number] = now + ASK_AGAIN
        self._living.move_to_end(number)

    def _place(self, number: int) -> int | None:
        place = self.addresses.place(number)
        return None if place in self.never else place

    def _leave(self, number: int) -> None:
        """Take an address out of where it is."""
        if number in self._away:
            return
        place = self._place(number)
        assert place is not None
        self._away[number] = not self._free.take(place)
        self._aging.pop(number, None)
        self._living.pop(number, None)

    def _back(self, number: int) -> None:
        """Neither promised nor resting any more: where it was before."""
        self._unpromise(number)
        if number in self._resting or number not in self._away:
            return
        if self._away.pop(number):
            self._living[number] = -math.inf  # to be looked at soon: how old its lease is tells the store
            self._living.move_to_end(number, last=False)
        else:
            place = self._place(number)
            assert place is not None
            self._free.give(place)

    def _unpromise(self, number: int) -> None:
        promise = self._promised.pop(number, None)
        if promise and self._promised_to.get(promise[0]) == number:
            del self._promised_to[promise[0]]

    def _lapse(self, now: float) -> None:
        """End the promises whose time has come; they stand in the order in which they end."""
        while self._promised:
            number, (_, until) = next(iter(self._promised.items()))
            if now < until:
                return
            self._back(number)


def _seen(lease: Lease) -> float:
    """A lease's place in the queue; who said goodbye stands first."""
    return -math.inf if lease.released else lease.last_seen
