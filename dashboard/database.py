"""The serving database, read by its read-only role; every value is a bound parameter."""

from collections.abc import Mapping, Sequence
from typing import Any, LiteralString

from psycopg import AsyncConnection, DataError, Error, OperationalError, errors
from psycopg.rows import dict_row, tuple_row
from psycopg.sql import Composed
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from shared.settings import Settings

CONNECTIONS = 8
WAIT_SECONDS = 3.0
"""For a connection; then the database counts as away."""
STATEMENT_SECONDS = 10

Query = LiteralString | Composed


class DatabaseAwayError(Exception):
    """The serving database does not answer, or takes too long; the message says which, and the cure."""


class WrongValueError(Exception):
    """A value that the column's type cannot be."""


class Database:
    """A pool of connections, which come back by themselves when the server does."""

    def __init__(
        self,
        settings: Settings,
        absent: str = "The serving tables are not there yet: they are filled about two minutes after ./deploy.sh.",
        connections: int = CONNECTIONS,
    ) -> None:
        """`absent` is the sentence where a table is not there yet."""
        self._absent = absent
        self._where = f"{settings.postgres_host}:{settings.postgres_port}"
        self._pool = AsyncConnectionPool(
            kwargs={
                "host": settings.postgres_host,
                "port": settings.postgres_port,
                "dbname": settings.serving_database,
                "user": settings.serving_reader,
                "password": settings.serving_reader_password.get_secret_value(),
                "connect_timeout": 3,
                "autocommit": True,
                "options": f"-c statement_timeout={STATEMENT_SECONDS}s -c default_transaction_read_only=on "
                "-c timezone=UTC",
                "application_name": "crypto-dashboard",
            },
            min_size=1,
            max_size=connections,
            timeout=WAIT_SECONDS,
            reconnect_timeout=5,
            open=False,
        )
        self.trouble = ""
        """Why the last question was not answered; empty where it was."""

    async def open(self) -> None:
        """Begin to connect; it does not wait."""
        await self._pool.open()

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close(timeout=2)

    async def dicts(self, query: Query, values: Mapping[str, Any] | Sequence[Any] = ()) -> list[dict[str, Any]]:
        """The rows by column. Raises `DatabaseAwayError` and `WrongValueError`."""
        return await self._asked(query, values, dict_row)

    async def tuples(self, query: Query, values: Mapping[str, Any] | Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows. Raises `DatabaseAwayError` and `WrongValueError`."""
        return await self._asked(query, values, tuple_row)

    async def changed(self, query: Query, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """What a statement that writes gives back; it may be sent twice. Raises the same."""
        return await self._asked(query, values, tuple_row, writes=True)

    async def _asked(self, query: Query, values: Any, rows: Any, *, writes: bool = False) -> list[Any]:
        try:
            try:
                found = await self._once(query, values, rows, writes)
            except OperationalError as error:
                if isinstance(error, (errors.QueryCanceled, PoolTimeout)):
                    raise
                await self._pool.check()  # the server was started anew: connections that it ended are dropped
                found = await self._once(query, values, rows, writes)
        except errors.QueryCanceled:
            raise DatabaseAwayError(
                f"The serving database took more than {STATEMENT_SECONDS} s: ask for a shorter range."
            ) from None
        except DataError as error:
            raise WrongValueError(str(error).splitlines()[0]) from None
        except (errors.UndefinedTable, errors.UndefinedFunction, errors.InvalidSchemaName):
            self.trouble = self._absent
            raise DatabaseAwayError(self.trouble) from None
        except (Error, OSError) as error:
            self.trouble = (
                f"The serving database does not answer at {self._where}: history stands still until it does. "
                "./monitor.sh shows it."
            )
            raise DatabaseAwayError(self.trouble) from error
        self.trouble = ""
        return found

    async def _once(self, query: Query, values: Any, rows: Any, writes: bool) -> list[Any]:
        async with self._pool.connection() as connection:
            if not writes:
                return await _rows(connection, query, values, rows)
            async with connection.transaction():
                await connection.execute("SET TRANSACTION READ WRITE")
                return await _rows(connection, query, values, rows)


async def _rows(connection: AsyncConnection[Any], query: Query, values: Any, rows: Any) -> list[Any]:
    async with connection.cursor(row_factory=rows) as cursor:
        await cursor.execute(query, values)
        return await cursor.fetchall()
