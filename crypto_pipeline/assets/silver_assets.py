"""Silver: candles and indicators."""

from crypto_pipeline.assets.derived import derived_assets, views

ASSETS = derived_assets("silver")
VIEWS = views("silver")
