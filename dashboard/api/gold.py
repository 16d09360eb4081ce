"""Every table of gold by one endpoint, filtered by the columns of its key."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from psycopg.sql import SQL, Composable, Composed, Identifier, Placeholder

from crypto_pipeline.catalog import tables
from dashboard.context import Here
from dashboard.errors import RequestError, unknown
from dashboard.formats import Format, json_response, rows_response
from dashboard.parameters import End, Limit, Start, Written, span
from shared.tables import DECIMAL, Table

router = APIRouter(tags=["gold"])

GOLD = {table.name: table for table in tables("gold").values()}
OURS = {"start", "end", "limit", "format", "latest"}
VALUES_AT_ONCE = 200
"""Of one column."""


@router.get("/gold")
async def gold_tables() -> Response:
    """The tables: what a row is, the columns with their meaning, and by which one may filter."""
    return json_response(
        {
            "tables": [
                {
                    "name": table.name,
                    "grain": table.grain,
                    "key": table.key,
                    "time": table.time,
                    "columns": [
                        {"name": column.name, "type": column.type, "comment": column.comment}
                        for column in table.columns
                    ],
                }
                for table in GOLD.values()
            ]
        }
    )


@router.get("/gold/{name}")
async def gold(
    here: Here,
    request: Request,
    name: str,
    start: Start = None,
    end: End = None,
    latest: Annotated[bool, Query(description="of each key the newest row alone, within the range")] = False,
    limit: Limit = 1000,
    written: Written = Format.JSON,
) -> Response:
    """Rows of a table, the newest first. Each column of its key filters: `?symbol=BTCUSDT&metric=volatility`.

    Several values of one column, 200 at most, are given by naming it again. Decimals are strings in JSON.
    """
    if name not in GOLD:
        raise unknown("table of gold", name, GOLD)
    table = GOLD[name]
    conditions, values = _conditions(table, request)
    if table.time:
        begin, until = span(start, end)
        conditions.append(SQL("{time} >= %(start)s AND {time} < %(end)s").format(time=Identifier(table.time)))
        values |= {"start": begin, "end": until}
    rows = await here.database.tuples(_query(table, conditions, latest=latest), {**values, "limit": limit})
    return rows_response(table.columns, rows, written, {"table": table.full_name})


def _conditions(table: Table, request: Request) -> tuple[list[Composable], dict[str, Any]]:
    conditions: list[Composable] = []
    values: dict[str, Any] = {}
    for name in sorted(set(request.query_params) - OURS):
        if name not in table.key:
            raise RequestError(
                400, f"{table.full_name} cannot be filtered by {name[:40]!r}: filter by {', '.join(table.key)}."
            )
        wanted = request.query_params.getlist(name)
        if len(wanted) > VALUES_AT_ONCE:
            raise RequestError(400, f"{name} is given {len(wanted)} times, and {VALUES_AT_ONCE} is the most at once.")
        asked = [
            SQL("{} = {}").format(Identifier(name), Placeholder(f"{name}_{place}")) for place in range(len(wanted))
        ]
        conditions.append(SQL("({})").format(SQL(" OR ").join(asked)))
        values |= {f"{name}_{place}": value for place, value in enumerate(wanted)}
    return conditions, values


def _query(table: Table, conditions: list[Composable], *, latest: bool) -> Composed:
    shown = SQL(", ").join(
        SQL("trim_scale({0})::text AS {0}").format(Identifier(column.name))
        if column.type == DECIMAL
        else Identifier(column.name)
        for column in table.columns
    )
    parts = {
        "columns": shown,
        "table": Identifier(table.layer, table.name),
        "where": SQL(" AND ").join(conditions) if conditions else SQL("true"),
        "key": SQL(", ").join(Identifier(name) for name in table.key if name != table.time),
        "time": Identifier(table.time) if table.time else SQL("1"),
        "order": SQL("ORDER BY {} DESC").format(Identifier(table.time)) if table.time else SQL(""),
    }
    if latest and table.time:
        return SQL(
            "SELECT {columns} FROM (SELECT DISTINCT ON ({key}) * FROM {table} WHERE {where} ORDER BY {key}, {time} DESC"
            ") AS newest {order} LIMIT %(limit)s"
        ).format(**parts)
    return SQL("SELECT {columns} FROM {table} WHERE {where} {order} LIMIT %(limit)s").format(**parts)
