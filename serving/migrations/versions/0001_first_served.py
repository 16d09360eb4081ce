"""The tables as they were first served, the months of candles, and who may do what.

Indicators are missing here: `serving.migrate` adds those that `config/indicators.yaml` names.
"""

from alembic import op

revision = "0001"
down_revision = None

_TABLES = """
CREATE TABLE bronze.bronze_ohlcv_native (
    exchange text NOT NULL, symbol text NOT NULL, base_asset text, quote_asset text, event_time timestamptz,
    published_at timestamptz, received_at timestamptz, ingested_at timestamptz, source text, connection_id text,
    interval text NOT NULL, open_time timestamptz NOT NULL, close_time timestamptz, open numeric(38,18),
    high numeric(38,18), low numeric(38,18), close numeric(38,18), volume numeric(38,18),
    quote_volume numeric(38,18), taker_buy_volume numeric(38,18), taker_buy_quote_volume numeric(38,18),
    trade_count bigint, first_trade_id bigint, last_trade_id bigint, is_closed boolean, ordering bigint,
    month text, broken_rules text[], CONSTRAINT bronze_ohlcv_native_pkey PRIMARY KEY (exchange, symbol,
    interval, open_time)
);
CREATE TABLE bronze.gaps (
    exchange text NOT NULL, symbol text NOT NULL, base_asset text, quote_asset text, event_time timestamptz,
    published_at timestamptz, received_at timestamptz, ingested_at timestamptz, source text, connection_id text,
    gap_stream text NOT NULL, first_missing bigint NOT NULL, last_missing bigint, missing bigint, cause text,
    status text, repaired_from text, detail text, updated_at timestamptz, date text, broken_rules text[],
    CONSTRAINT gaps_pkey PRIMARY KEY (exchange, symbol, gap_stream, first_missing)
);
CREATE TABLE gold.anomalies (
    exchange text NOT NULL, symbol text NOT NULL, base_asset text, interval text NOT NULL,
    interval_start timestamptz NOT NULL, kind text NOT NULL, score float8, threshold float8, value float8,
    unit text, median float8, mad float8, baseline text, rests_from timestamptz, observations integer,
    explanation text, is_retracted boolean, reason text, ingestion_ts timestamptz, month text,
    CONSTRAINT anomalies_pkey PRIMARY KEY (exchange, symbol, interval, interval_start, kind)
);
CREATE TABLE gold.anomaly_baselines (
    exchange text NOT NULL, symbol text NOT NULL, measure text NOT NULL, hour_start timestamptz NOT NULL,
    baseline text, observations integer, hours integer, rests_from timestamptz, median float8, mad float8,
    scale float8, share float8, reason text, fills_at timestamptz, ingestion_ts timestamptz, month text,
    CONSTRAINT anomaly_baselines_pkey PRIMARY KEY (exchange, symbol, measure, hour_start)
);
CREATE TABLE gold.anomaly_samples (
    exchange text NOT NULL, symbol text NOT NULL, interval_start timestamptz NOT NULL, return float8,
    volume float8, trade_size float8, spread float8, imbalance float8, ingestion_ts timestamptz, month text,
    CONSTRAINT anomaly_samples_pkey PRIMARY KEY (exchange, symbol, interval_start)
);
CREATE TABLE gold.correlations (
    exchange text NOT NULL, symbol_a text NOT NULL, symbol_b text NOT NULL, quote_asset text,
    return_interval text NOT NULL, window_length text NOT NULL, confidence float8 NOT NULL,
    as_of timestamptz NOT NULL, observations bigint, pearson float8, pearson_low float8, pearson_high float8,
    spearman float8, spearman_low float8, spearman_high float8, reason text, fills_at timestamptz,
    lead_lag_seconds bigint, lead_lag_correlation float8, lead_lag_p float8, lead_lag_tests bigint,
    lead_lag_reason text, ingestion_ts timestamptz, month text,
    CONSTRAINT correlations_pkey PRIMARY KEY (exchange, symbol_a, symbol_b, return_interval, window_length,
    confidence, as_of)
);
CREATE TABLE gold.data_quality (
    table_name text NOT NULL, exchange text NOT NULL, symbol text NOT NULL, day timestamptz NOT NULL,
    rows bigint, duplicates bigint, quarantined bigint, late bigint, completeness_percent float8,
    condition text, gaps_open bigint, gaps_lost bigint, latency_received_p50_ms float8,
    latency_received_p95_ms float8, latency_received_p99_ms float8, latency_bronze_p50_ms float8,
    latency_bronze_p95_ms float8, latency_bronze_p99_ms float8, latency_silver_p50_ms float8,
    latency_silver_p95_ms float8, latency_silver_p99_ms float8, observations bigint, reason text,
    ingestion_ts timestamptz, month text, CONSTRAINT data_quality_pkey PRIMARY KEY (table_name, exchange,
    symbol, day)
);
CREATE TABLE gold.data_quality_hourly (
    table_name text NOT NULL, exchange text NOT NULL, symbol text NOT NULL, hour_start timestamptz NOT NULL,
    rows bigint, duplicates bigint, late bigint, to_received jsonb, to_bronze jsonb, to_silver jsonb,
    ingestion_ts timestamptz, month text, CONSTRAINT data_quality_hourly_pkey PRIMARY KEY (table_name, exchange,
    symbol, hour_start)
);
CREATE TABLE gold.forecast_inputs (
    exchange text NOT NULL, symbol text NOT NULL, interval_start timestamptz NOT NULL, close float8,
    high float8, low float8, realised_variance float8, observations integer, quote_volume float8,
    taker_buy_quote_volume float8, trade_count bigint, is_closed boolean, reason text, ingestion_ts timestamptz,
    month text, CONSTRAINT forecast_inputs_pkey PRIMARY KEY (exchange, symbol, interval_start)
);
CREATE TABLE gold.forecast_models (
    exchange text NOT NULL, symbol text NOT NULL, target text NOT NULL, horizon text NOT NULL,
    model text NOT NULL, is_baseline boolean, trained_until timestamptz NOT NULL, trained_from timestamptz,
    trained_at timestamptz, usable_from timestamptz, observations integer, hours_known integer, features text,
    folds integer, validated_from timestamptz, validated_hours integer, qlike float8, baseline_qlike float8,
    mse float8, baseline_mse float8, log_loss float8, baseline_log_loss float8, brier float8,
    baseline_brier float8, difference float8, ci_low float8, ci_high float8, p_value float8,
    beats_baseline boolean, verdict text, code_version text, library_versions text, uri text, sha256 text,
    reason text, fills_at timestamptz, ingestion_ts timestamptz, month text,
    CONSTRAINT forecast_models_pkey PRIMARY KEY (exchange, symbol, target, horizon, model, trained_until)
);
CREATE TABLE gold.forecast_scores (
    exchange text NOT NULL, symbol text NOT NULL, target text NOT NULL, horizon text NOT NULL,
    model text NOT NULL, loss text NOT NULL, window_days integer NOT NULL, baseline text, as_of timestamptz,
    observations integer, hindcasts integer, mean_loss float8, baseline_loss float8, difference float8,
    ci_low float8, ci_high float8, statistic float8, p_value float8, beats_baseline boolean, verdict text,
    reason text, fills_at timestamptz, ingestion_ts timestamptz,
    CONSTRAINT forecast_scores_pkey PRIMARY KEY (exchange, symbol, target, horizon, model, loss, window_days)
);
CREATE TABLE gold.forecasts (
    exchange text NOT NULL, symbol text NOT NULL, target text NOT NULL, horizon text NOT NULL,
    model text NOT NULL, is_baseline boolean, interval_start timestamptz NOT NULL, forecast float8,
    trained_until timestamptz, is_hindcast boolean, observations integer, reason text, fills_at timestamptz,
    ingestion_ts timestamptz, month text, CONSTRAINT forecasts_pkey PRIMARY KEY (exchange, symbol, target,
    horizon, model, interval_start)
);
CREATE TABLE gold.market_overview (
    exchange text NOT NULL, symbol text NOT NULL, base_asset text, quote_asset text, as_of timestamptz,
    last_minute timestamptz, last_price numeric(38,18), change_1h_percent float8, change_24h numeric(38,18),
    change_24h_percent float8, change_day_percent float8, change_7d_percent float8, open_24h numeric(38,18),
    high_24h numeric(38,18), low_24h numeric(38,18), volume_24h numeric(38,18), quote_volume_24h numeric(38,18),
    quote_volume_24h_usdt float8, trade_count_24h bigint, high_day numeric(38,18), low_day numeric(38,18),
    volume_day numeric(38,18), quote_volume_day numeric(38,18), trade_count_day bigint, volatility_24h float8,
    observations bigint, minutes_24h bigint, minutes_quiet_24h bigint, minutes_missing_24h bigint,
    spread_bps float8, spread_source text, spread_as_of timestamptz, imbalance float8,
    imbalance_as_of timestamptz, volume_rank integer, trade_count_rank integer, change_rank integer,
    change_1h_rank integer, change_day_rank integer, change_7d_rank integer, volatility_rank integer,
    spread_rank integer, imbalance_rank integer, ticker_as_of timestamptz, ticker_open_24h numeric(38,18),
    ticker_high_24h numeric(38,18), ticker_low_24h numeric(38,18), ticker_volume_24h numeric(38,18),
    ticker_quote_volume_24h numeric(38,18), ticker_trade_count_24h bigint, difference_open_24h numeric(38,18),
    difference_high_24h numeric(38,18), difference_low_24h numeric(38,18), difference_volume_24h numeric(38,18),
    difference_quote_volume_24h numeric(38,18), difference_trade_count_24h bigint,
    ticker_minutes_missing bigint, reconciliation text, reason text, ingestion_ts timestamptz,
    CONSTRAINT market_overview_pkey PRIMARY KEY (exchange, symbol)
);
CREATE TABLE gold.portfolio_performance (
    portfolio text NOT NULL, day timestamptz NOT NULL, asset text NOT NULL, exchange text,
    started_on timestamptz, definition text, is_closed boolean, as_of timestamptz, units numeric(38,18),
    price numeric(38,18), priced_at timestamptz, is_stale boolean, value numeric(38,18), weight float8,
    cost numeric(38,18), unrealised_profit numeric(38,18), realised_profit numeric(38,18),
    profit numeric(38,18), profit_day numeric(38,18), invested numeric(38,18), fees numeric(38,18),
    traded_day numeric(38,18), contribution_day float8, contribution float8, return_day float8,
    return_week float8, return_month float8, return_since_start float8, growth float8, peak_growth float8,
    drawdown float8, max_drawdown float8, turnover_day float8, turnover float8, benchmark text,
    benchmark_return_day float8, benchmark_return_since_start float8, benchmark_growth float8,
    benchmark_price numeric(38,18), benchmark_priced_at timestamptz, excess_return float8, observations bigint,
    lots jsonb, reason text, ingestion_ts timestamptz, month text,
    CONSTRAINT portfolio_performance_pkey PRIMARY KEY (portfolio, day, asset)
);
CREATE TABLE gold.risk_metrics (
    exchange text NOT NULL, subject_kind text NOT NULL, subject text NOT NULL, as_of timestamptz NOT NULL,
    metric text NOT NULL, return_interval text NOT NULL, horizon text NOT NULL, window_length text NOT NULL,
    confidence integer NOT NULL, value float8, standard_error float8, observations bigint,
    observations_needed integer, reason text, fills_at timestamptz, backtest_forecasts integer,
    backtest_exceptions integer, backtest_exceptions_expected float8, kupiec_p_value float8,
    independence_p_value float8, conditional_coverage_p_value float8, backtest_reason text,
    backtest_fills_at timestamptz, ingestion_ts timestamptz, month text,
    CONSTRAINT risk_metrics_pkey PRIMARY KEY (exchange, subject_kind, subject, as_of, metric, return_interval,
    horizon, window_length, confidence)
);
CREATE TABLE gold.signal_outcomes (
    exchange text NOT NULL, symbol text NOT NULL, interval text NOT NULL, interval_start timestamptz NOT NULL,
    interval_end timestamptz, rule text NOT NULL, side text, is_retracted boolean, bridged boolean,
    entered_at timestamptz, entry_open float8, spread_bps float8, spread_source text, fee_bps float8,
    entry_price float8, return_15m float8, return_1h float8, return_4h float8, return_1d float8,
    observations integer, reason text, ingestion_ts timestamptz, month text,
    CONSTRAINT signal_outcomes_pkey PRIMARY KEY (exchange, symbol, interval, interval_start, rule)
);
CREATE TABLE gold.signal_performance (
    exchange text NOT NULL, symbol text NOT NULL, interval text NOT NULL, rule text NOT NULL,
    horizon text NOT NULL, confidence float8 NOT NULL, side text, signals bigint, retracted bigint,
    bridged bigint, observations bigint, spreads_known bigint, first_signal timestamptz,
    last_signal timestamptz, mean_return float8, mean_return_low float8, mean_return_high float8,
    median_return float8, hit_rate float8, hit_rate_low float8, hit_rate_high float8, block_length bigint,
    always_long_return float8, always_long_hit_rate float8, always_long_observations bigint, rules_tried bigint,
    reason text, ingestion_ts timestamptz, CONSTRAINT signal_performance_pkey PRIMARY KEY (exchange, symbol,
    interval, rule, horizon, confidence)
);
CREATE TABLE gold.signals (
    exchange text NOT NULL, symbol text NOT NULL, interval text NOT NULL, interval_start timestamptz NOT NULL,
    interval_end timestamptz, rule text NOT NULL, revision integer NOT NULL, is_retraction boolean,
    definition text, side text, strength float8, close float8, caused_by text, previous_start timestamptz,
    bridged boolean, reason text, known_at timestamptz, ingestion_ts timestamptz, month text,
    CONSTRAINT signals_pkey PRIMARY KEY (exchange, symbol, interval, interval_start, rule, revision)
);
CREATE TABLE serving.marks (
    table_name text NOT NULL, source text NOT NULL, mark text NOT NULL,
    written_at timestamptz DEFAULT now() NOT NULL, CONSTRAINT marks_pkey PRIMARY KEY (table_name, source)
);
CREATE TABLE silver.completeness_daily (
    exchange text NOT NULL, symbol text NOT NULL, day date NOT NULL, month text, minutes bigint,
    minutes_expected bigint, minutes_complete bigint, minutes_repaired bigint, minutes_pending bigint,
    minutes_partial bigint, minutes_missing bigint, minutes_no_trades bigint, minutes_halt bigint,
    minutes_not_listed bigint, minutes_our_outage bigint, minutes_expired bigint, minutes_venue_gap bigint,
    minutes_not_collected bigint, trades_expected bigint, trades_received bigint, trades_missing bigint,
    trades_websocket bigint, trades_rest bigint, trades_archive bigint, trades_merged bigint,
    depth_seconds bigint, depth_longest_silence_ms bigint, ticker_seconds bigint,
    ticker_longest_silence_ms bigint, percent_proven float8, percent_received float8, condition text,
    CONSTRAINT completeness_daily_pkey PRIMARY KEY (exchange, symbol, day)
);
CREATE TABLE silver.completeness_hourly (
    exchange text NOT NULL, symbol text NOT NULL, hour_start timestamptz NOT NULL, month text, minutes bigint,
    minutes_expected bigint, minutes_complete bigint, minutes_repaired bigint, minutes_pending bigint,
    minutes_partial bigint, minutes_missing bigint, minutes_no_trades bigint, minutes_halt bigint,
    minutes_not_listed bigint, minutes_our_outage bigint, minutes_expired bigint, minutes_venue_gap bigint,
    minutes_not_collected bigint, trades_expected bigint, trades_received bigint, trades_missing bigint,
    trades_websocket bigint, trades_rest bigint, trades_archive bigint, trades_merged bigint,
    depth_seconds bigint, depth_longest_silence_ms bigint, ticker_seconds bigint,
    ticker_longest_silence_ms bigint, percent_proven float8, percent_received float8, condition text,
    CONSTRAINT completeness_hourly_pkey PRIMARY KEY (exchange, symbol, hour_start)
);
CREATE TABLE silver.fact_ohlcv (
    exchange text NOT NULL, symbol text NOT NULL, base_asset text, quote_asset text, interval text NOT NULL,
    interval_seconds integer, interval_start timestamptz NOT NULL, interval_end timestamptz,
    open numeric(38,18), high numeric(38,18), low numeric(38,18), close numeric(38,18), volume numeric(38,18),
    quote_volume numeric(38,18), trade_count bigint, vwap numeric(38,18), taker_buy_volume numeric(38,18),
    taker_buy_quote_volume numeric(38,18), first_trade_id bigint, last_trade_id bigint, is_closed boolean,
    status text, proof text, source text, minutes_present integer, minutes_expected integer, revision integer,
    known_at timestamptz, ingestion_ts timestamptz, CONSTRAINT fact_ohlcv_pkey PRIMARY KEY (exchange, symbol,
    interval, interval_start)
) PARTITION BY RANGE (interval_start);
CREATE TABLE silver.indicators (
    exchange text NOT NULL, symbol text NOT NULL, interval text NOT NULL, interval_start timestamptz NOT NULL,
    close float8, is_closed boolean, bridged boolean, rests_from timestamptz, ingestion_ts timestamptz,
    month text, CONSTRAINT indicators_pkey PRIMARY KEY (exchange, symbol, interval, interval_start)
);
CREATE TABLE silver.instruments (
    exchange text NOT NULL, symbol text NOT NULL, base_asset text, quote_asset text, instrument_id text,
    valid_from timestamptz NOT NULL, valid_to timestamptz, status text, tick_size numeric(38,18),
    step_size numeric(38,18), min_notional numeric(38,18), listed_at timestamptz, delisted_at timestamptz,
    ingestion_ts timestamptz, CONSTRAINT instruments_pkey PRIMARY KEY (exchange, symbol, valid_from)
);
CREATE TABLE silver.order_book_1m (
    exchange text NOT NULL, symbol text NOT NULL, base_asset text, quote_asset text,
    interval_start timestamptz NOT NULL, spread_bps float8, mid_price float8, micro_price float8,
    imbalance_best float8, imbalance float8, bid_depth_10bp float8, bid_quote_depth_10bp float8,
    ask_depth_10bp float8, ask_quote_depth_10bp float8, closing_bid_price numeric(38,18),
    closing_bid_quantity numeric(38,18), closing_ask_price numeric(38,18), closing_ask_quantity numeric(38,18),
    closing_mid_price numeric(38,18), closing_at timestamptz, snapshots integer, snapshots_invalid integer,
    seconds_covered integer, longest_silence_ms integer, is_closed boolean, ingestion_ts timestamptz, date text,
    CONSTRAINT order_book_1m_pkey PRIMARY KEY (exchange, symbol, interval_start)
);
"""

_MONTHS = """
CREATE FUNCTION serving.make_month(start timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    name text := 'fact_ohlcv_' || to_char(start, 'YYYY_MM');
BEGIN
    IF to_regclass('silver.' || name) IS NULL THEN
        -- Attached, not made as a partition: that would wait for all who read the table, and hold up all who want to.
        EXECUTE format('CREATE TABLE silver.%I (LIKE silver.fact_ohlcv INCLUDING ALL)', name);
        EXECUTE format(
            'ALTER TABLE silver.fact_ohlcv ATTACH PARTITION silver.%I FOR VALUES FROM (%L) TO (%L)',
            name, date_trunc('month', start), date_trunc('month', start) + interval '1 month'
        );
    END IF;
END
$$;
COMMENT ON FUNCTION serving.make_month IS 'Makes the partition of silver.fact_ohlcv for the UTC month of a time';
REVOKE ALL ON FUNCTION serving.make_month FROM PUBLIC;
GRANT EXECUTE ON FUNCTION serving.make_month TO lake_writer;
"""
"""A partition is its owner's to make, and the writer is not that."""


def upgrade() -> None:
    """Everything. What later migrations make in these schemas may be read and filled without a word."""
    for schema in ("bronze", "silver", "gold", "serving"):
        op.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        op.execute(f"GRANT USAGE ON SCHEMA {schema} TO lake_writer, lake_reader")
        tables = f"ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT"
        op.execute(f"{tables} SELECT ON TABLES TO lake_reader")
        op.execute(f"{tables} SELECT, INSERT, UPDATE, DELETE ON TABLES TO lake_writer")
    op.execute(_TABLES)
    op.execute(_MONTHS)
