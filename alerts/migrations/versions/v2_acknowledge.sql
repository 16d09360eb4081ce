create function alerts.acknowledge(number bigint) returns timestamptz
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    update alerts.alerts set acknowledged_at = coalesce(acknowledged_at, now()) where id = number
    returning acknowledged_at
$$;
comment on function alerts.acknowledge is 'A person has seen an alert: since when; null where there is none of this number.';
revoke execute on function alerts.acknowledge from public;
grant execute on function alerts.acknowledge to lake_reader;
