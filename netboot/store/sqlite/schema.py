"""The tables of the store, and the way of a file of an earlier version to today's."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from netboot.errors import StoreError

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
    """
    CREATE TABLE audit (
        id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, name TEXT, role TEXT, source TEXT NOT NULL,
        method TEXT NOT NULL, path TEXT NOT NULL, request TEXT NOT NULL, refused INTEGER NOT NULL,
        status INTEGER, operation TEXT);
    CREATE INDEX audit_by_kind ON audit (refused, id);
    """,
    """
    CREATE TABLE bindings (
        cluster TEXT NOT NULL, token_id TEXT NOT NULL, boot_id TEXT NOT NULL, node TEXT NOT NULL,
        mac TEXT NOT NULL, expires REAL NOT NULL, address INTEGER, uuid TEXT, request TEXT NOT NULL,
        alarm TEXT NOT NULL, PRIMARY KEY (cluster, token_id)) WITHOUT ROWID;
    """,
    """
    CREATE TABLE assignments (machine TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE operations (
        id TEXT PRIMARY KEY, started REAL NOT NULL, ended INTEGER NOT NULL, body TEXT NOT NULL) WITHOUT ROWID;
    CREATE INDEX operations_by_time ON operations (started);
    CREATE TABLE admissions (mac TEXT PRIMARY KEY, at REAL NOT NULL, by TEXT NOT NULL) WITHOUT ROWID;
    ALTER TABLE claims ADD COLUMN kept TEXT NOT NULL DEFAULT '';
    """,
    """
    ALTER TABLE claims ADD COLUMN csr TEXT NOT NULL DEFAULT '';
    """,
)
"""Each entry leads from the version that is its index to the next; never change one that was released."""


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the file to the newest version, one transaction per step. Raises StoreError for a newer one."""
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
