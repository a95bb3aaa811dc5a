"""The one thread that writes, and the way of a question from the event loop to it and back.

Everything that was asked for during one turn of the event loop, and while the last commit was on its way
to the disk, goes into one transaction: WAL with synchronous=FULL, so that a commit is one fsync. Compare-
and-set is decided in the writer's order. Answers leave after the commit; what is kept in memory changes
after it too. A failed batch changes nothing and fails with StoreError.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from netboot.errors import StoreError
from netboot.store.sqlite import file
from netboot.store.sqlite.batch import Batch, Draft, Kept

T = TypeVar("T")
K = TypeVar("K", bound=Kept[Draft])

log = logging.getLogger("netboot")

REOPEN_EVERY = 1.0
"""Seconds between attempts to open a damaged or vanished file again."""

_BAD_VALUE = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    ArithmeticError,
    TypeError,
    ValueError,
)

Work = Callable[[Batch], Any]


class _Asked:
    """What was asked for during one turn of an event loop."""

    __slots__ = ("all", "loop", "own", "works")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.works: list[Work] = []
        self.all: asyncio.Future[list[object]] = loop.create_future()
        """Every answer, in the order of `works`, for those who wait without a task: one wake-up for all."""
        self.own: list[tuple[int, asyncio.Future[Any]]] = []
        """Which answer is waited for by a task, which may be cancelled alone."""

    def answer(self, answers: list[object]) -> None:
        """Wake those who wait."""
        self.all.set_result(answers)
        for at, future in self.own:
            answer = answers[at]
            if future.done():
                continue
            if isinstance(answer, StoreError):
                future.set_exception(answer)
            else:
                future.set_result(answer)


class Writer:
    """The file's connection in the hands of one thread."""

    def __init__(self, path: Path) -> None:
        self.at_open: list[Callable[[sqlite3.Connection], None]] = []
        """What reads or tidies the file when it opens, in this order."""
        self._path = path
        self._kept: list[Kept[Draft]] = []
        self._connection: sqlite3.Connection | None = None
        self._opened_at = -REOPEN_EVERY
        self._broken = ""
        self._lock = -1
        self._asked: _Asked | None = None
        self._jobs: queue.SimpleQueue[_Asked | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="netboot-store", daemon=True)
        self._closed = False

    def keep(self, kept: K) -> K:
        """Have these rows in memory too: read when the file opens, put back where it was opened again."""
        self._kept.append(kept)
        self.at_open.append(kept.load)
        return kept

    def open(self) -> None:
        """Open or make the file and start the thread. Raises StoreError."""
        try:
            self._open_first()
        except StoreError:
            if self._lock >= 0:
                os.close(self._lock)
            raise
        self._thread.start()

    async def close(self) -> None:
        """Finish what was asked for and close."""
        if self._closed:
            return
        self._closed = True
        self._hand_over()
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    # From the event loop to the thread

    async def do(self, work: Callable[[Batch], T]) -> T:
        """Have the thread do `work` in its next transaction, and wait for the commit. Raises StoreError."""
        if self._closed:
            raise StoreError(f"{self._path} is closed")
        loop, asked = asyncio.get_running_loop(), self._asked
        if asked is None:
            asked = self._asked = _Asked(loop)
            loop.call_soon(self._hand_over)
        at = len(asked.works)
        asked.works.append(work)
        if asyncio.current_task(loop) is not None:
            future: asyncio.Future[T] = loop.create_future()
            asked.own.append((at, future))
            return await future
        answer = (await asked.all)[at]
        if isinstance(answer, StoreError):
            raise answer
        return cast(T, answer)

    async def execute(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run one statement in the next transaction; its rows. Raises StoreError."""
        return await self.do(lambda batch: batch.execute(query, values))

    def _hand_over(self) -> None:
        if self._asked is not None:
            self._jobs.put(self._asked)
            self._asked = None

    # The thread

    def _write(self) -> None:
        while (asked := self._jobs.get()) is not None:
            turns = [asked]
            while not self._jobs.empty():
                more = self._jobs.get()
                if more is None:
                    self._jobs.put(None)  # what was asked for before the end is still done
                    break
                turns.append(more)
            _answer(turns, self._transact([work for turn in turns for work in turn.works]))
        self._shut()

    def _transact(self, works: list[Work]) -> list[object]:
        """Do all in one transaction; the answers, each a result or the exception that it ended with."""
        try:
            return self._commit_all(works)
        except _BAD_VALUE as error:
            if len(works) > 1:  # one bad value must not fail the others
                return [answer for work in works for answer in self._transact([work])]
            return [StoreError(f"a value that cannot be stored: {error}")]
        except (sqlite3.Error, OSError, StoreError) as error:
            self._after_failure(error)
            return [StoreError(f"{self._path} cannot be written: {error}") for _ in works]
        except Exception as error:
            log.exception("the store's writer met an error of its own")
            return [StoreError(f"{type(error).__name__}: {error}") for _ in works]

    def _commit_all(self, works: list[Work]) -> list[object]:
        connection = self._usable()
        batch = Batch(connection)
        try:
            answers = [work(batch) for work in works]
            self._commit(batch)
        except BaseException:
            _rollback(connection)
            raise
        batch.show()
        return answers

    def _commit(self, batch: Batch) -> None:
        batch.commit()

    def _usable(self) -> sqlite3.Connection:
        """The connection, opened again where a failure closed it: what was acknowledged goes back into it."""
        if self._connection is not None:
            return self._connection
        if time.monotonic() - self._opened_at < REOPEN_EVERY:
            raise sqlite3.OperationalError(self._broken)
        self._opened_at = time.monotonic()
        connection = file.connect(self._path)
        try:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                for kept in self._kept:
                    for query, values in kept.restore():
                        connection.execute(query, values)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _after_failure(self, error: Exception) -> None:
        """A full or busy disk heals under the same connection; anything else needs a new one."""
        self._broken = str(error)
        code = getattr(error, "sqlite_errorcode", None)
        if self._connection is not None and code not in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY):
            self._connection.close()
            self._connection = None

    def _open_first(self) -> None:
        try:
            self._lock = file.lock(self._path)
            file.look_for_loss(self._path, self._lock)
            connection = file.connect(self._path)
            for step in self.at_open:
                step(connection)
            file.mark_used(self._lock)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"{self._path} cannot be opened: {error}") from error
        self._connection = connection

    def _shut(self) -> None:
        if self._connection is not None:
            self._connection.close()
        os.close(self._lock)


class Part:
    """What the store remembers of one kind, through the one writer."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer


def _answer(turns: list[_Asked], answers: list[object]) -> None:
    """Wake the event loop once for the whole batch."""

    def resolve() -> None:
        at = 0
        for turn in turns:
            turn.answer(answers[at : at + len(turn.works)])
            at += len(turn.works)

    try:
        turns[0].loop.call_soon_threadsafe(resolve)
    except RuntimeError:
        pass  # the loop is closed: nobody waits for the answers any more


def _rollback(connection: sqlite3.Connection) -> None:
    try:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    except sqlite3.Error:
        pass  # the failure that led here is reported; a broken connection is opened again
