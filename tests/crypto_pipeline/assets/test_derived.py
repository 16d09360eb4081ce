"""What an asset of silver or gold checks."""

import dagster as dg

from crypto_pipeline.assets import derived
from crypto_pipeline.gold import signal_outcomes, signals


def test_a_table_that_people_write_a_file_for_warns_of_what_is_refused_and_goes_on() -> None:
    [spec] = [each for each in derived._asset(signals).check_specs if each.name == "its_file_is_right"]
    assert not spec.blocking
    result = derived._configured(signals.TABLE, ["config/signals.yaml:4: wrong.", "config/signals.yaml:9: wrong."])
    assert not result.passed
    assert result.severity == dg.AssetCheckSeverity.WARN
    assert result.metadata["refused"].value == "config/signals.yaml:4: wrong.\nconfig/signals.yaml:9: wrong."
    assert derived._configured(signals.TABLE, []).passed
    assert "its_file_is_right" not in {each.name for each in derived._asset(signal_outcomes).check_specs}
