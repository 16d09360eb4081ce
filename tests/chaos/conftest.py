"""One campaign for all verdicts of this folder."""

from collections.abc import Iterator

import pytest

from tests.chaos import verdict
from tests.chaos.campaign import Campaign
from tests.chaos.facts import clock, gathered
from tests.chaos.judge import Judge
from tests.chaos.plan import Plan
from tests.chaos.settling import now
from tests.chaos.victims import VICTIMS
from tests.system import STREAMED_ALONE, SYMBOLS, deployed

LONG_MINUTES = 10
MESSAGES_A_SECOND, MESSAGES_IN_THE_SHORT_FORM = 2_000, 500
"""Two cores, with other work to do, are to have caught up with the short form in a few minutes."""
LIQUIDITY = 2.95
"""Trades of all five symbols, for each of the busiest (`streaming.simulator.instruments`)."""


def rate(minutes: float) -> dict[str, str]:
    """The setting of the simulator that gives as many messages as a campaign of some minutes is to have."""
    messages = MESSAGES_A_SECOND if minutes >= LONG_MINUTES else MESSAGES_IN_THE_SHORT_FORM
    return {"SIMULATOR_RATE": f"{messages / LIQUIDITY:.0f}"}


@pytest.fixture(scope="module")
def campaign(request: pytest.FixtureRequest) -> Iterator[Campaign]:
    """The campaign, over; its system still runs."""
    plan = Plan.drawn(request.config.getoption("--seed"), request.config.getoption("--minutes"), SYMBOLS, VICTIMS)
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def say(line: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"chaos {clock(now())} {line}", flush=True)

    say(f"seed {plan.seed}, {plan.minutes:g} minutes")
    with deployed(**STREAMED_ALONE, **rate(plan.minutes)) as system:
        done = Campaign(system, plan, say)
        done.run()
        yield done


@pytest.fixture(scope="module")
def judge(campaign: Campaign) -> Judge:
    """What the lake and the simulator say after it."""
    facts = gathered(campaign.system, SYMBOLS, campaign.done(), campaign.until)
    verdict.prepare(facts)
    return Judge(facts, campaign.plan.how_to_repeat)
