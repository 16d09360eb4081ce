create table alerts.alerts (
    id bigint generated always as identity primary key,
    rule text not null,
    kind text not null,
    severity text not null,
    subject text not null,
    occurrence text not null,
    value double precision not null,
    text text not null,
    happened_at timestamptz not null,
    fired_at timestamptz not null default now(),
    resolved_at timestamptz,
    resolved_text text,
    acknowledged_at timestamptz
);
comment on table alerts.alerts is 'One row per alert: it fires once, and is resolved once.';
comment on column alerts.alerts.subject is 'what it is about: binance BTCUSDT';
comment on column alerts.alerts.occurrence is 'which of several of one subject, where each is told by itself; else empty';
comment on column alerts.alerts.happened_at is 'when it was so, as the rule found it: of a trade or candle its own time';
create unique index alerts_active on alerts.alerts (rule, subject, occurrence) where resolved_at is null;
create index alerts_happened_at on alerts.alerts (happened_at);
create index alerts_fired_at on alerts.alerts (fired_at);
create index alerts_resolved_at on alerts.alerts (resolved_at);

create table alerts.outbox (
    id bigint generated always as identity primary key,
    alert_id bigint references alerts.alerts on delete cascade,
    destination text not null,
    about text not null,
    severity text not null,
    title text not null,
    body text not null,
    key uuid not null unique,
    created_at timestamptz not null default now(),
    attempts integer not null default 0,
    next_attempt_at timestamptz not null default now(),
    delivered_at timestamptz,
    answer text
);
comment on table alerts.outbox is 'One row per message and destination, kept with the alert that it tells of.';
comment on column alerts.outbox.key is 'goes with the message each time it is sent';
comment on column alerts.outbox.answer is 'why the destination did not take it at the last attempt';
create index outbox_waiting on alerts.outbox (destination, id) where delivered_at is null;
create index outbox_alert_id on alerts.outbox (alert_id);

create table alerts.offsets (
    topic text,
    partition integer,
    next_offset bigint not null,
    primary key (topic, partition)
);
comment on table alerts.offsets is 'How far Kafka was read, kept with what that made of the alerts.';

create table alerts.memories (
    rule text,
    market text,
    definition text not null,
    content text not null,
    primary key (rule, market)
);
comment on table alerts.memories is 'What a rule on trades remembers of a market, at the place of alerts.offsets.';

create table alerts.digests (day date primary key);
comment on table alerts.digests is 'The UTC days whose digest was made.';

grant select on all tables in schema alerts to lake_reader;
