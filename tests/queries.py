"""The queries of `docs/queries.md`, as they stand there."""

import re
from typing import NamedTuple

from shared.settings import PROJECT

PAGE = PROJECT / "docs" / "queries.md"
_SECTION = re.compile(r"^## ([^\n]+)\n(.*?)^```sql\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Query(NamedTuple):
    title: str
    text: str
    """What is said of it."""
    sql: str


QUERIES = {query.title: query for query in (Query(*found) for found in _SECTION.findall(PAGE.read_text()))}
"""Every query by its title."""
