"""What the dashboard costs and how quickly it answers.

    python -m benchmarks.dashboard candles | pages | closes | browser | day  [--url http://127.0.0.1:8050]

It asks a running dashboard: that of a deployment, or of `python -m tests.dashboard.serve`. `candles` asks for 500 bars
a hundred times a second; `pages` opens 200 sockets, each of which shows a symbol; `closes` watches minutes end;
`browser` opens the page in the system's chromium until its candles are there; `day` has it open for a day, on a clock
that runs as fast as the page can.
"""

import asyncio
import json
import statistics
import time
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import urlsplit

import httpx
import psutil
import typer
from playwright.sync_api import sync_playwright
from websockets.asyncio.client import ClientConnection, connect

from deployment import chromium

app = typer.Typer(no_args_is_help=True)
Url = Annotated[str, typer.Option(help="of the dashboard")]
HERE = "http://127.0.0.1:8050"


def server(url: str) -> psutil.Process:
    """The process that listens there."""
    port = urlsplit(url).port
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
            return psutil.Process(connection.pid)
    raise typer.BadParameter(f"nothing listens at {url}")


def symbols(url: str) -> list[str]:
    """What it shows."""
    return [row["symbol"] for row in httpx.get(f"{url}/api/v1/symbols").json()["symbols"]]


def percentiles(seconds: list[float]) -> str:
    """The median, p99 and the worst, in milliseconds."""
    cuts = statistics.quantiles(seconds, n=100)
    return f"p50 {cuts[49] * 1000:.1f} ms, p99 {cuts[98] * 1000:.1f} ms, worst {max(seconds) * 1000:.1f} ms"


@app.command()
def candles(url: Url = HERE, seconds: int = 30, rate: int = 100) -> None:
    """RATE requests a second for 500 candles; each begins when it is due, whether others are done or not."""

    async def run() -> list[float]:
        taken: list[float] = []
        limits = httpx.Limits(max_connections=100, max_keepalive_connections=100, keepalive_expiry=2)
        async with httpx.AsyncClient(base_url=url, limits=limits) as client:

            async def ask(symbol: str) -> None:
                began = time.perf_counter()
                answer = await client.get("/api/v1/candles", params={"symbol": symbol, "limit": 500})
                answer.raise_for_status()
                taken.append(time.perf_counter() - began)

            names = symbols(url)
            began = time.perf_counter()
            async with asyncio.TaskGroup() as group:
                for number in range(seconds * rate):
                    await asyncio.sleep(max(began + number / rate - time.perf_counter(), 0))
                    group.create_task(ask(names[number % len(names)]))
        return taken

    process = server(url)
    before = process.cpu_times()
    taken = asyncio.run(run())
    after = process.cpu_times()
    used = (after.user + after.system - before.user - before.system) / seconds
    print(f"{len(taken)} answers of 500 candles: {percentiles(taken)}; {100 * used:.0f} % of a core")


@app.command()
def pages(url: Url = HERE, count: int = 200, seconds: int = 30) -> None:
    """COUNT open pages, spread over the symbols."""

    async def run() -> tuple[int, int]:
        names = symbols(url)
        address = url.replace("http", "ws", 1) + "/api/v1/live"

        async def watch(socket: ClientConnection) -> tuple[int, int]:
            messages = received = 0
            deadline = time.monotonic() + seconds
            while (left := deadline - time.monotonic()) > 0:
                try:
                    text = await asyncio.wait_for(socket.recv(), left)
                except TimeoutError:
                    break
                messages, received = messages + 1, received + len(text)
            return messages, received

        sockets = await asyncio.gather(*(connect(address, compression=None) for _ in range(count)))
        for number, socket in enumerate(sockets):
            await socket.send(json.dumps({"symbol": names[number % len(names)], "interval": "1m"}))
        found = await asyncio.gather(*(watch(socket) for socket in sockets))
        await asyncio.gather(*(socket.close() for socket in sockets))
        return sum(one for one, _ in found), sum(size for _, size in found)

    process = server(url)
    before, began = process.cpu_times(), time.perf_counter()
    messages, received = asyncio.run(run())
    after, took = process.cpu_times(), time.perf_counter() - began
    used = (after.user + after.system - before.user - before.system) / took
    each = count * seconds
    print(
        f"{count} pages, each with {messages / each:.1f} messages and {received / each / 1000:.1f} kB a second: "
        f"{100 * used:.0f} % of a core, {process.memory_info().rss / 1e6:.0f} MB"
    )


@app.command()
def closes(url: Url = HERE, minutes: int = 5) -> None:
    """From the end of a minute to its closed candle in the API, for every symbol."""
    late: list[float] = []
    names = symbols(url)
    with httpx.Client(base_url=url) as client:
        for _ in range(minutes):
            end = (int(time.time()) // 60 + 1) * 60
            time.sleep(end - time.time())
            waiting = set(names)
            while waiting and time.time() < end + 20:
                for symbol in sorted(waiting):
                    wish = {"symbol": symbol, "start": end - 60, "end": end}
                    rows = client.get("/api/v1/candles", params=wish).json()["rows"]
                    if rows and rows[0]["is_closed"]:
                        late.append(time.time() - end)
                        waiting.discard(symbol)
            if waiting:
                print(f"{datetime.fromtimestamp(end, UTC):%H:%M}: no candle of {', '.join(sorted(waiting))} in 20 s")
    print(f"{len(late)} closed candles, after the end of their minute: {percentiles(late)}")


@app.command()
def browser(url: Url = HERE, times: int = 10) -> None:
    """From the address to the first chart, each time in a browser that has nothing in its cache."""
    taken = []
    with sync_playwright() as playwright:
        program = playwright.chromium.launch(executable_path=chromium.program(), args=["--no-sandbox"])
        for _ in range(times):
            page = program.new_context(viewport={"width": 1440, "height": 900}).new_page()
            began = time.perf_counter()
            page.goto(f"{url}/?symbol={symbols(url)[0]}", wait_until="commit")
            while not page.evaluate("document.querySelector('.chart')?.candles?.length > 0"):
                page.wait_for_timeout(10)
            taken.append(time.perf_counter() - began)
            page.context.close()
        program.close()
    print(f"{times} first charts: {percentiles(taken)}")


_BEFORE_THE_PAGE = """
    window.inFlight = 0;
    window.told = {};
    const ask = window.fetch;
    window.fetch = (...wish) => {
      window.inFlight += 1;
      return ask(...wish).finally(() => { window.inFlight -= 1; });
    };
    window.WebSocket = class extends WebSocket {
      constructor(...where) {
        super(...where);
        window.lastSocket = this;
        this.addEventListener("message", ({ data }) => {
          for (const message of JSON.parse(data)) window.told[message.type] = message;
        });
      }
    };
"""
_A_MINUTE = """(minute) => {
    const { price, depth, watch, state } = window.told;
    const hear = (window.hear ??= window.lastSocket.onmessage);
    window.lastSocket.onmessage = null;  // from now on the page hears what is made here alone
    const first = (window.first ??= price.bars.at(-1).at);
    const number = window.number ??= Number(price.price);
    for (let second = 0; second < 60; second++) {
      const now = number * (1 + Math.sin((minute * 60 + second) / 97) / 500);
      const bars = [1, 0].map((back) => ({
        ...price.bars.at(-1), at: first + 60 * (minute - back), close: String(now), high: String(now * 1.001),
        low: String(now * 0.999), trade_count: second,
      }));
      const trades = depth.trades.map(([id, at, paid, ...rest], place) => (
        [id + minute * 60 + second, (first + 60 * minute + second) * 1000 - place, String(now), ...rest]));
      const prices = Object.fromEntries(Object.entries(watch.prices).map(
        ([name, [, change]]) => [name, [String(now + second), change]]));
      hear({ data: JSON.stringify(
        [{ ...price, price: String(now), bars }, { ...depth, trades }, { ...watch, prices }, state]) });
    }
}"""
"""A second in a message, as the server's newest had it; the price goes up and down."""


_CANDLES = "document.querySelector('.chart').candles.length"


@app.command()
def day(url: Url = HERE, hours: int = 24) -> None:
    """What the market page holds while it is open for HOURS, and whether that grows."""
    with sync_playwright() as playwright:
        program = playwright.chromium.launch(executable_path=chromium.program(), args=["--no-sandbox"])
        page = program.new_context(viewport={"width": 1440, "height": 900}).new_page()
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.add_init_script(_BEFORE_THE_PAGE)
        page.clock.install()
        page.goto(f"{url}/?symbol={symbols(url)[0]}&indicators=sma_20,rsi_14")
        while not page.evaluate("['price', 'depth', 'watch', 'state'].every((kind) => window.told[kind])"):
            page.wait_for_timeout(100)
        browser = page.context.new_cdp_session(page)
        browser.send("Performance.enable")
        for minute in range(1, hours * 60 + 1):
            page.evaluate(_A_MINUTE, minute)
            page.clock.run_for(60_000)
            while page.evaluate("window.inFlight"):
                page.wait_for_timeout(5)
            if minute == 60 or minute % 240 == 0:
                browser.send("HeapProfiler.collectGarbage")
                held = {one["name"]: one["value"] for one in browser.send("Performance.getMetrics")["metrics"]}
                print(
                    f"after {minute // 60} h: {held['JSHeapUsedSize'] / 1e6:.1f} MB, {held['Nodes']:,.0f} nodes, "
                    f"{held['JSEventListeners']:.0f} listeners, "
                    f"{page.evaluate(_CANDLES):,} candles",
                    flush=True,
                )
        print(f"{len(faults)} errors{': ' if faults else ''}{'; '.join(sorted(set(faults)))}")
        program.close()


if __name__ == "__main__":
    app()
