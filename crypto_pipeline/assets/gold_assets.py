"""Gold: analytics."""

from crypto_pipeline.assets.derived import derived_assets

ASSETS = derived_assets("gold")
