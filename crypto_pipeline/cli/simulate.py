"""`crypto simulate`: the exchange in a box."""

from pathlib import Path
from typing import Annotated

import typer


def simulate(
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Where to listen; 0: any free port.")] = None,
    seed: Annotated[int | None, typer.Option(help="Another seed is another market.")] = None,
    rate: Annotated[float | None, typer.Option(min=0.001, help="Trades a second of the busiest symbol.")] = None,
    history_hours: Annotated[int | None, typer.Option(min=0, help="How long ago the market opened.")] = None,
    folder: Annotated[Path | None, typer.Option(help="Keep the market here, to go on with it later.")] = None,
    replay: Annotated[list[Path] | None, typer.Option(help="Send this recording; may be given again.")] = None,
    speed: Annotated[float, typer.Option(min=0, help="Of the replay: 1 as recorded, 0 as fast as it is read.")] = 1.0,
    faults: Annotated[str | None, typer.Option(help="What goes wrong: a YAML file, the text itself, or chaos.")] = None,
) -> None:
    """Run a simulated exchange that speaks Binance's WebSocket and REST, with a believable market of its own.

    The same seed gives the same market. It needs no network, and `./deploy.sh --demo` runs it by itself. What is not
    given here comes from the settings `SIMULATOR_PORT`, `SIMULATOR_SEED`, `SIMULATOR_RATE`, `SIMULATOR_HISTORY_HOURS`,
    `SIMULATOR_FAULTS`.

    Faults come at moments that follow from the seed, so that a run can be repeated. A file lists them:

        - {kind: cut, at: 150, every: 1800, seconds: 20}      # in seconds from the start
        - {kind: skip, symbol: BTCUSDT, per_minute: 2, count: 5}
        - {kind: refuse, endpoints: [historicalTrades], status: 403}
        - {kind: chaos, minutes: 10}                          # a mixture of all that can be repaired

    While it runs, `GET /faults` lists the kinds and their parameters, `POST /faults` starts one, `POST /faults/end`
    ends the one with the given id, or all, and `GET /truth/faults` says what was done:
    `curl -d '{"kind": "cut", "symbol": "BTCUSDT", "seconds": 20}' localhost:8100/faults`.

    Examples:

    - `crypto simulate` and, in another terminal, `CRYPTO_MODE=demo crypto stream --stdout`
    - `crypto simulate --rate 50 --seed 3`
    - `crypto simulate --faults faults.yaml`, `crypto simulate --faults chaos --seed 5`
    - `crypto simulate --faults '{kind: skip, per_minute: 2}'`
    - `crypto simulate --replay spot_btcusdt_20240808.gz --speed 10`
    """
    from shared.settings import settings
    from streaming.simulator import SimulatorError
    from streaming.simulator.schedule import read
    from streaming.simulator.server import Options, serve

    chosen = settings()
    wanted = chosen.simulator_faults if faults is None else faults
    try:
        options = Options(
            port=chosen.simulator_port if port is None else port,
            seed=chosen.simulator_seed if seed is None else seed,
            rate=chosen.simulator_rate if rate is None else rate,
            history_hours=chosen.simulator_history_hours if history_hours is None else history_hours,
            folder=folder,
            recordings=replay or (),
            speed=speed,
            host=chosen.bind_address,
            faults=read(wanted) if wanted else (),
        )
        serve(options, announce=lambda line: typer.echo(f"{line}. Ctrl-C ends it."))
    except SimulatorError as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from None
