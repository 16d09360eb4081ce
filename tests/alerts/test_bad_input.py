"""Whatever comes to the alerts service, by Kafka or by its port, it goes on."""

from urllib.request import urlopen

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.metrics import Metrics
from alerts.stream import arrived_with
from shared.events import encode
from shared.pages import Pages, figures_and_health
from tests.alerts.trades import trade
from tests.bad_input import DEEP, refuses_raw

pytestmark = pytest.mark.bad_input

WHOLE = encode(trade(1, "1.5"))


@given(
    st.one_of(st.none(), st.binary(), st.binary(max_size=30).map(lambda tail: WHOLE[:60] + tail + WHOLE[60:])),
    st.sampled_from([[], [("replayed_at", b"\xff")]]),
)
def test_any_message_is_news_or_none(value: bytes | None, headers: list[tuple[str, bytes]]) -> None:
    if arrived := arrived_with(value, headers):
        arrived.trade()


@pytest.mark.parametrize(
    "value",
    [
        None,
        WHOLE.replace(b"BTCUSDT", b"\xff\xfe"),
        WHOLE[:-9],
        WHOLE[:-1] + b',"x":' + DEEP.encode(),
        WHOLE.replace(b'"1.5"', b'"NaN"'),
        WHOLE.replace(b'"1.5"', b'"1E+999999999"'),
        WHOLE.replace(b'"trade_id":1', b'"trade_id":' + b"9" * 40),
    ],
)
def test_what_is_no_trade_is_none(value: bytes | None) -> None:
    arrived = arrived_with(value, [])
    assert arrived is None or arrived.trade() is None


def test_what_is_no_http_is_refused_and_the_next_request_answered(fuzz_seconds: float) -> None:
    served = Pages(figures_and_health(Metrics().registry, lambda: (True, {})))
    port = served.serve("127.0.0.1", 0)
    refuses_raw(port, fuzz_seconds)
    for path in ("health", "metrics", "metrics?name[]=%ff%00", "%00"):
        with urlopen(f"http://127.0.0.1:{port}/{path}") as answered:
            assert answered.status == 200
    served.close()
