"""The embedded store: one SQLite file, one writer thread, one commit per batch.

Everything that was asked for during one turn of the event loop, and while the last commit was on its way
to the disk, goes into one transaction: WAL with synchronous=FULL, so that a commit is one fsync. Compare-
and-set is decided in the writer's order. Answers leave after the commit; the leases in memory, which
answer all reads, change after it too. A failed batch changes nothing and fails with StoreError.
"""

from __future__ import annotations

import asyncio
import fcntl
import functools
import json
import logging
import os
import queue
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, TypeVar, cast

from netboot.errors import StoreError
from netboot.model.boot import Boot, Claim, Step, TokenRecord
from netboot.model.lease import Lease, Rest
from netboot.model.machine import Mac
from netboot.store.table import Changes, LeaseTable

T = TypeVar("T")

log = logging.getLogger("netboot")

BOOTS_KEPT = 50_000
"""Boots that are remembered, the newest; older ones go with their claims."""

ROWS = 64
"""Leases in one statement at most."""

REOPEN_EVERY = 1.0
"""Seconds between attempts to open a damaged or vanished file again."""

MIGRATIONS = (
    """
    CREATE TABLE leases (
        network TEXT NOT NULL, holder TEXT NOT NULL, address INTEGER NOT NULL UNIQUE, mac TEXT NOT NULL,
        name TEXT NOT NULL, expires REAL NOT NULL, last_seen REAL NOT NULL, boot_id TEXT,
        PRIMARY KEY (network, holder)) WITHOUT ROWID;
    CREATE TABLE boots (id TEXT PRIMARY KEY, started REAL NOT NULL, body TEXT NOT NULL) WITHOUT ROWID;
    CREATE INDEX boots_by_time ON boots (started);
    CREATE TABLE claims (
        boot_id TEXT PRIMARY KEY, address INTEGER NOT NULL, request_sha256 TEXT NOT NULL,
        certificate TEXT NOT NULL, certificate_sha256 TEXT NOT NULL, claimed REAL NOT NULL,
        credentials INTEGER NOT NULL, ended INTEGER NOT NULL);
    CREATE TABLE tokens (
        cluster TEXT NOT NULL, token_id TEXT NOT NULL, boot_id TEXT NOT NULL, secret_sha256 TEXT NOT NULL,
        expires REAL NOT NULL, PRIMARY KEY (cluster, token_id)) WITHOUT ROWID;
    """,
    """
    ALTER TABLE leases ADD COLUMN released INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE rests (
        address INTEGER PRIMARY KEY, network TEXT NOT NULL, since REAL NOT NULL, until REAL NOT NULL,
        cause TEXT NOT NULL, mac TEXT);
    """,
)
"""Each entry leads from the version that is its index to the next; never change one that was released."""

_BAD_VALUE = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    ArithmeticError,
    TypeError,
    ValueError,
)

Work = Callable[["_Batch"], Any]
_Pending = tuple[Work, "asyncio.Future[Any]"]
_Job = tuple[asyncio.AbstractEventLoop, list[_Pending]]


class _Batch:
    """One transaction: the connection, and what it does to the leases and claims in memory."""

    __slots__ = ("_begun", "_connection", "_live", "changes", "claims")

    def __init__(self, connection: sqlite3.Connection, table: LeaseTable, live: dict[str, Claim]) -> None:
        self.changes = Changes(table)
        self.claims: dict[str, Claim] = {}
        self._connection = connection
        self._begun = False
        self._live = live

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection, in a transaction from the first call on."""
        if not self._begun:
            self._connection.execute("BEGIN IMMEDIATE")
            self._begun = True
        return self._connection

    def claim_of(self, boot_id: str) -> Claim | None:
        """A claim as this batch has left it so far."""
        claim = self.claims.get(boot_id) or self._live.get(boot_id)
        if claim is None:
            row = self.connection.execute("SELECT * FROM claims WHERE boot_id = ?", (boot_id,)).fetchone()
            claim = _claim(row) if row else None
        return claim

    def put_claim(self, claim: Claim) -> None:
        """Write a claim."""
        self.connection.execute("INSERT OR REPLACE INTO claims VALUES (?,?,?,?,?,?,?,?)", _claim_row(claim))
        self.claims[claim.boot_id] = claim

    def commit(self) -> None:
        """Write the leases as decided, and have everything on disk.

        The final state has each address once, so rows may replace rows. A batch of leases alone is one
        statement, which commits by itself: with each statement the writer waits for the interpreter's lock
        again, which a busy event loop gives away once in a millisecond (33 ms instead of 1 for 30 leases).
        """
        gone, written = self.changes.gone(), self.changes.written()
        if gone:
            self.connection.executemany("DELETE FROM leases WHERE network = ? AND holder = ?", gone)
        many = self.connection if len(written) > ROWS else self._connection
        for at in range(0, len(written), ROWS):
            _put_leases(many, written[at : at + ROWS])
        if self._begun:
            self._connection.execute("COMMIT")

    def show(self) -> None:
        """After the commit: let the readers see it."""
        self.changes.apply()
        for boot_id, claim in self.claims.items():
            if claim.ended:
                self._live.pop(boot_id, None)
            else:
                self._live[boot_id] = claim


class SqliteStore:
    """The door's promises on one SQLite file of mode 0600."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._table = LeaseTable()
        self._live: dict[str, Claim] = {}
        self._connection: sqlite3.Connection | None = None
        self._opened_at = -REOPEN_EVERY
        self._broken = ""
        self._lock = -1
        self._waiting: list[_Pending] = []
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="netboot-store", daemon=True)
        self._saved = 0
        self._closed = False

    @classmethod
    async def open(cls, path: Path) -> SqliteStore:
        """Open or make the file; raises StoreError for a damaged one, a newer one, or one that is in use.

        Its writer is the only thread that is started (`privileges.leave_the_rest_ordinary`).
        """
        store = cls(path)
        try:
            store._open_first()
        except StoreError:
            if store._lock >= 0:
                os.close(store._lock)
            raise
        store._writer.start()
        return store

    async def close(self) -> None:
        """Finish what was asked for and close."""
        if self._closed:
            return
        self._closed = True
        self._hand_over(asyncio.get_running_loop())
        self._jobs.put(None)
        await asyncio.to_thread(self._writer.join)

    # Leases

    async def lease_of(self, holder: str, network: str) -> Lease | None:
        """The lease of a holder in a network, expired or not; from memory."""
        return self._table.lease_of(holder, network)

    async def lease_at(self, address: IPv4Address) -> Lease | None:
        """Who was last given an address; from memory."""
        return self._table.lease_at(address)

    async def claim_lease(self, lease: Lease, seen: Lease | None, displaced: Lease | None = None) -> bool:
        """Write `lease` if the holder's lease still is `seen`; on disk when it returns. Raises StoreError."""
        return await self._do(lambda batch: batch.changes.claim(lease, seen, displaced))

    async def release_lease(self, lease: Lease, now: float) -> bool:
        """Mark `lease` as given back at `now`; False where it has changed since. Raises StoreError."""
        return await self._do(lambda batch: batch.changes.release(lease, now))

    async def drop_lease(self, lease: Lease) -> bool:
        """Forget `lease`; False where it has changed since. Raises StoreError."""
        return await self._do(lambda batch: batch.changes.drop(lease))

    async def leases(self) -> Sequence[Lease]:
        """Every lease, from memory."""
        return list(self._table.by_key.values())

    async def rest(self, rest: Rest) -> None:
        """Have an address rest; on disk when it returns. Raises StoreError."""
        mac = None if rest.mac is None else str(rest.mac)
        row = (int(rest.address), rest.network, rest.since, rest.until, rest.cause, mac)
        await self._execute("INSERT OR REPLACE INTO rests VALUES (?,?,?,?,?,?)", row)

    async def end_rests(self, addresses: Sequence[IPv4Address]) -> None:
        """These addresses rest no more. Raises StoreError."""
        rows = [(int(address),) for address in addresses]
        await self._do(
            lambda batch: batch.connection.executemany("DELETE FROM rests WHERE address = ?", rows)
        )

    async def rests(self) -> Sequence[Rest]:
        """Every rest that was not ended. Raises StoreError."""
        return [_rest(row) for row in await self._execute("SELECT * FROM rests", ())]

    # Boots and claims

    async def save_boots(self, boots: Sequence[Boot]) -> None:
        """Insert or replace these boots in one commit. Raises StoreError."""
        rows = [(boot.id, boot.started, boot_text(boot)) for boot in boots]
        await self._do(lambda batch: self._put_boots(batch, rows))

    async def boots(self, *, limit: int = 1000) -> Sequence[Boot]:
        """The newest boots, newest first. Raises StoreError."""
        query = "SELECT body FROM boots ORDER BY started DESC, id DESC LIMIT ?"
        return await self._do(
            lambda batch: [boot_of(text) for (text,) in batch.connection.execute(query, (limit,))]
        )

    async def burn(self, claim: Claim) -> Claim:
        """Burn a boot's key: the claim that stands, ours or an earlier one. Raises StoreError."""

        def work(batch: _Batch) -> Claim:
            standing = batch.claim_of(claim.boot_id)
            if standing is None:
                batch.put_claim(claim)
            return standing or claim

        return await self._do(work)

    async def claim_of(self, boot_id: str) -> Claim | None:
        """The claim of a boot: a live one from memory, an ended one from the file. Raises StoreError."""
        live = self._live.get(boot_id)
        return live if live is not None else await self._do(lambda batch: batch.claim_of(boot_id))

    async def count_credential(self, boot_id: str, limit: int) -> bool:
        """Count one more credential; False where `limit` were given, or no claim lives. Raises StoreError."""

        def work(batch: _Batch) -> bool:
            claim = batch.claim_of(boot_id)
            if claim is None or claim.ended or claim.credentials >= limit:
                return False
            batch.put_claim(replace(claim, credentials=claim.credentials + 1))
            return True

        return await self._do(work)

    async def end_claim(self, boot_id: str) -> None:
        """End the session of a boot; no error where there is none. Raises StoreError."""

        def work(batch: _Batch) -> None:
            claim = batch.claim_of(boot_id)
            if claim is not None and not claim.ended:
                batch.put_claim(replace(claim, ended=True))

        await self._do(work)

    # Tokens

    async def record_token(self, token: TokenRecord) -> None:
        """Remember a token without its secret. Raises StoreError."""
        row = (token.cluster, token.token_id, token.boot_id, token.secret_sha256, token.expires)
        await self._execute("INSERT OR REPLACE INTO tokens VALUES (?,?,?,?,?)", row)

    async def tokens_of(self, boot_id: str) -> Sequence[TokenRecord]:
        """The tokens of one boot that were not forgotten yet. Raises StoreError."""
        return [t for t in await self.tokens() if t.boot_id == boot_id]

    async def tokens(self) -> Sequence[TokenRecord]:
        """All tokens that were not forgotten yet. Raises StoreError."""
        rows = await self._execute(
            "SELECT token_id, boot_id, cluster, secret_sha256, expires FROM tokens", ()
        )
        return [TokenRecord(*row) for row in rows]

    async def forget_token(self, cluster: str, token_id: str) -> None:
        """The token is gone at the API; no error where it is not known. Raises StoreError."""
        await self._execute("DELETE FROM tokens WHERE cluster = ? AND token_id = ?", (cluster, token_id))

    # From the event loop to the writer

    async def _execute(self, query: str, row: tuple[object, ...]) -> list[tuple[Any, ...]]:
        return await self._do(lambda batch: batch.connection.execute(query, row).fetchall())

    async def _do(self, work: Callable[[_Batch], T]) -> T:
        """Have the writer do `work` in its next transaction, and wait for the commit."""
        if self._closed:
            raise StoreError(f"{self._path} is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._hand_over, loop)
        self._waiting.append((work, future))
        return cast(T, await future)

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._waiting:
            self._jobs.put((loop, self._waiting))
            self._waiting = []

    # The writer thread

    def _write(self) -> None:
        while (job := self._jobs.get()) is not None:
            loop, pending = job
            while not self._jobs.empty():
                more = self._jobs.get()
                if more is None:
                    self._jobs.put(None)  # what was asked for before the end is still done
                    break
                pending = pending + more[1]
            answers = self._transact([work for work, _ in pending])
            _answer(loop, [future for _, future in pending], answers)
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
        batch = _Batch(connection, self._table, self._live)
        try:
            answers = [work(batch) for work in works]
            self._commit(batch)
        except BaseException:
            _rollback(connection)
            raise
        batch.show()
        return answers

    def _commit(self, batch: _Batch) -> None:
        batch.commit()

    def _put_boots(self, batch: _Batch, rows: list[tuple[str, float, str]]) -> None:
        batch.connection.executemany("INSERT OR REPLACE INTO boots VALUES (?,?,?)", rows)
        self._saved += len(rows)
        if self._saved > 2000:
            self._saved = 0
            _prune(batch.connection)

    def _usable(self) -> sqlite3.Connection:
        """The connection, opened again where a failure closed it: the acknowledged leases go back into it."""
        if self._connection is not None:
            return self._connection
        if time.monotonic() - self._opened_at < REOPEN_EVERY:
            raise sqlite3.OperationalError(self._broken)
        self._opened_at = time.monotonic()
        connection = _connect(self._path)
        try:
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("DELETE FROM leases")
                connection.executemany(_put_statement(1), map(_lease_row, list(self._table.by_key.values())))
                claims = map(_claim_row, list(self._live.values()))
                connection.executemany("INSERT OR REPLACE INTO claims VALUES (?,?,?,?,?,?,?,?)", claims)
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
            self._lock = _lock(self._path)
            _look_for_loss(self._path, self._lock)
            connection = _connect(self._path)
            _prune(connection)
            rows = connection.execute(f"SELECT {_LEASE_COLUMNS} FROM leases")
            self._table = LeaseTable(map(_lease, rows))
            live = connection.execute("SELECT * FROM claims WHERE ended = 0")
            self._live.update({claim.boot_id: claim for claim in map(_claim, live)})
            _mark_used(self._lock)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"{self._path} cannot be opened: {error}") from error
        self._connection = connection

    def _shut(self) -> None:
        if self._connection is not None:
            self._connection.close()
        os.close(self._lock)


def _answer(
    loop: asyncio.AbstractEventLoop, futures: list[asyncio.Future[Any]], answers: list[object]
) -> None:
    """Wake the event loop once for the whole batch."""

    def resolve() -> None:
        for future, answer in zip(futures, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, StoreError):
                future.set_exception(answer)
            else:
                future.set_result(answer)

    try:
        loop.call_soon_threadsafe(resolve)
    except RuntimeError:
        pass  # the loop is closed: nobody waits for the answers any more


def _lock(path: Path) -> int:
    """Hold the store for this process alone; the lock goes with the process."""
    descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise StoreError(f"{path} is in use by another netboot: stop that one first") from None
    return descriptor


def _look_for_loss(path: Path, lock: int) -> None:
    """A store that was used before is never taken for a new one in silence. Raises StoreError."""
    if not os.fstat(lock).st_size:
        return
    if not path.exists():
        log.warning("%s is gone: dynamic leases and the history of boots start anew", path)
    elif not path.stat().st_size:
        raise StoreError(_damaged(path, "it is empty, and was used before"))


def _mark_used(lock: int) -> None:
    """Write down, beside the file, that it holds something from now on."""
    if not os.fstat(lock).st_size:
        os.write(lock, b"used\n")
        os.fsync(lock)


def _connect(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    path.chmod(0o600)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=2.0)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA journal_size_limit = 16777216")
        _check(connection, path)
        _migrate(connection, path)
        _sync_directory(path.parent)
    except sqlite3.DatabaseError as error:
        connection.close()
        if error.sqlite_errorcode in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise StoreError(_damaged(path, str(error))) from error
        raise
    except BaseException:
        connection.close()
        raise
    return connection


def _check(connection: sqlite3.Connection, path: Path) -> None:
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise StoreError(_damaged(path, verdict))


def _damaged(path: Path, why: str) -> str:
    return (
        f"{path} is damaged ({why}). Put a backup in its place, or move it away: declared nodes keep their "
        "addresses, dynamic leases and the history of boots start anew"
    )


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the schema to the newest version, one transaction per step."""
    connection.execute("CREATE TABLE IF NOT EXISTS schema (version INTEGER NOT NULL)")
    row = connection.execute("SELECT version FROM schema").fetchone()
    version = row[0] if row else 0
    if version > len(MIGRATIONS):
        raise StoreError(
            f"{path} was written by a newer netboot (schema {version}, this one knows {len(MIGRATIONS)}): "
            "install that version again, or restore the backup from before"
        )
    for number in range(version, len(MIGRATIONS)):
        mark = f"DELETE FROM schema; INSERT INTO schema VALUES ({number + 1});"
        connection.executescript(f"BEGIN IMMEDIATE;{MIGRATIONS[number]};{mark}COMMIT;")


def _prune(connection: sqlite3.Connection) -> None:
    row = connection.execute(
        "SELECT started FROM boots ORDER BY started DESC LIMIT 1 OFFSET ?", (BOOTS_KEPT,)
    ).fetchone()
    if row:
        connection.execute("DELETE FROM boots WHERE started <= ?", row)
        connection.execute("DELETE FROM claims WHERE claimed <= ?", row)


def _rollback(connection: sqlite3.Connection) -> None:
    try:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    except sqlite3.Error:
        pass  # the failure that led here is reported; a broken connection is opened again


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_LEASE_COLUMNS = "network, holder, address, mac, name, expires, last_seen, boot_id, released"


@functools.cache
def _put_statement(rows: int) -> str:
    values = ",".join([f"({','.join('?' * len(_LEASE_COLUMNS.split()))})"] * rows)
    return f"INSERT OR REPLACE INTO leases ({_LEASE_COLUMNS}) VALUES {values}"


def _put_leases(connection: sqlite3.Connection, leases: Sequence[Lease]) -> None:
    values = [value for lease in leases for value in _lease_row(lease)]
    connection.execute(_put_statement(len(leases)), values)


def _lease_row(lease: Lease) -> tuple[object, ...]:
    return (
        lease.network,
        lease.holder,
        int(lease.address),
        str(lease.mac),
        lease.name,
        lease.expires,
        lease.last_seen,
        lease.boot_id,
        lease.released,
    )


def _lease(row: tuple[Any, ...]) -> Lease:
    network, holder, address, mac, name, expires, last_seen, boot_id, released = row
    at = IPv4Address(address)
    return Lease(holder, Mac(mac), at, network, name, expires, last_seen, boot_id, bool(released))


def _rest(row: tuple[Any, ...]) -> Rest:
    address, network, since, until, cause, mac = row
    return Rest(IPv4Address(address), network, since, until, cause, Mac(mac) if mac else None)


def _claim_row(claim: Claim) -> tuple[object, ...]:
    return (
        claim.boot_id,
        int(claim.address),
        claim.request_sha256,
        claim.certificate,
        claim.certificate_sha256,
        claim.claimed,
        claim.credentials,
        int(claim.ended),
    )


def _claim(row: tuple[Any, ...]) -> Claim:
    boot_id, address, request, certificate, digest, claimed, credentials, ended = row
    at = IPv4Address(address)
    return Claim(boot_id, at, request, certificate, digest, claimed, credentials, bool(ended))


def boot_text(boot: Boot) -> str:
    """A boot as one JSON text."""
    plain = {
        name: getattr(boot, name) for name in Boot.__dataclass_fields__ if name not in ("steps", "address")
    }
    steps = [[s.step, s.at, s.bytes, s.of, s.detail] for s in boot.steps]
    address = str(boot.address) if boot.address else None
    return json.dumps({**plain, "steps": steps, "address": address}, separators=(",", ":"))


def boot_of(text: str) -> Boot:
    """The boot of a JSON text; keys that a later version wrote are left out."""
    value = {k: _shared(v) for k, v in json.loads(text).items() if k in Boot.__dataclass_fields__}
    value["mac"] = Mac(value["mac"])
    value["steps"] = tuple(Step(sys.intern(step), *rest) for step, *rest in value["steps"])
    value["address"] = IPv4Address(value["address"]) if value["address"] else None
    value["quirks"] = tuple(map(sys.intern, value.get("quirks", ())))
    return Boot(**value)


def _shared(value: Any) -> Any:
    """Thousands of boots share their cluster, image and generation: one object for each text."""
    return sys.intern(value) if type(value) is str else value
