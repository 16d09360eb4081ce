"""A month of candles that is filled before it has its key, and belongs to the table only then."""

from alembic import op

revision = "0003"
down_revision = "0002"

_FUNCTIONS = """
CREATE FUNCTION serving.begin_month(start timestamptz) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    name text := 'fact_ohlcv_' || to_char(start, 'YYYY_MM');
BEGIN
    IF to_regclass('silver.' || name) IS NOT NULL THEN
        RETURN NULL;
    END IF;
    EXECUTE format('CREATE TABLE silver.%I (LIKE silver.fact_ohlcv INCLUDING ALL EXCLUDING INDEXES)', name);
    RETURN name;
END
$$;
COMMENT ON FUNCTION serving.begin_month IS
    'Makes a table for the UTC month of a time, not in silver.fact_ohlcv yet, and gives its name; null where one is';
REVOKE ALL ON FUNCTION serving.begin_month FROM PUBLIC;
GRANT EXECUTE ON FUNCTION serving.begin_month TO lake_writer;

CREATE FUNCTION serving.end_month(start timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    name text := 'fact_ohlcv_' || to_char(start, 'YYYY_MM');
BEGIN
    EXECUTE format(
        'ALTER TABLE silver.%I ADD CONSTRAINT %I PRIMARY KEY (exchange, symbol, interval, interval_start)',
        name, name || '_pkey'
    );
    EXECUTE format(
        'ALTER TABLE silver.fact_ohlcv ATTACH PARTITION silver.%I FOR VALUES FROM (%L) TO (%L)',
        name, date_trunc('month', start), date_trunc('month', start) + interval '1 month'
    );
END
$$;
COMMENT ON FUNCTION serving.end_month IS 'Gives what serving.begin_month made its key, and silver.fact_ohlcv its rows';
REVOKE ALL ON FUNCTION serving.end_month FROM PUBLIC;
GRANT EXECUTE ON FUNCTION serving.end_month TO lake_writer;
"""
"""Five million rows into an index that is there take it longer than all else; one that is made of them is sorted."""


def upgrade() -> None:
    """The two functions."""
    op.execute(_FUNCTIONS)
