-- What foreshock keeps in PostgreSQL. The program runs this itself where the schema is missing; it is
-- written to be read, and to be run by hand where the program's role may not create anything:
--
--     psql -1 -f schema.sql
--     GRANT USAGE ON SCHEMA foreshock TO foreshock;
--     GRANT SELECT ON foreshock.schema_version TO foreshock;
--     GRANT SELECT, INSERT, UPDATE ON foreshock.progress TO foreshock;
--     GRANT INSERT ON foreshock.signals, foreshock.liquidations, foreshock.states TO foreshock;
--
-- NULL is what is not known; 0 is a number. Money is in whole micro-dollars, so that sums are exact:
-- sum(usd_micros) / 1e6. Prices are the doubles the venue's text reads as, bit for bit.

CREATE SCHEMA foreshock;

CREATE TABLE foreshock.schema_version (version integer NOT NULL);
INSERT INTO foreshock.schema_version VALUES (1);

-- How far each writer got: a batch and its number get in together or not at all.
CREATE TABLE foreshock.progress (
    run    bigint NOT NULL,
    writer bigint NOT NULL,
    lane   text   NOT NULL,
    batch  bigint NOT NULL,
    PRIMARY KEY (run, writer, lane)
);
COMMENT ON COLUMN foreshock.progress.batch IS 'number of the last batch that is stored';

CREATE TABLE foreshock.signals (
    run         bigint           NOT NULL,
    seq         bigint           NOT NULL,
    at          timestamptz      NOT NULL,
    symbol      text             NOT NULL,
    kind        text             NOT NULL,
    level       text             NOT NULL,
    probability double precision NOT NULL,
    risk        double precision NOT NULL,
    risk_level  text             NOT NULL,
    confidence  double precision NOT NULL,
    coverage    double precision NOT NULL,
    gap         boolean          NOT NULL,
    episode     bigint           NOT NULL,
    cause       bigint           NOT NULL,
    json        json             NOT NULL,
    PRIMARY KEY (run, seq)
);
CREATE INDEX signals_at ON foreshock.signals (at);
COMMENT ON COLUMN foreshock.signals.run IS 'start of the run, wall clock ms';
COMMENT ON COLUMN foreshock.signals.cause IS 'ordinal of the event that tipped it';
COMMENT ON COLUMN foreshock.signals.json IS 'the whole signal, byte for byte as in the stream foreshock:signals';

CREATE TABLE foreshock.liquidations (
    at           timestamptz NOT NULL,
    run          bigint      NOT NULL,
    ordinal      bigint      NOT NULL,
    received     timestamptz NOT NULL,
    venue_time   timestamptz,
    venue        text        NOT NULL,
    line         bigint      NOT NULL,
    symbol       text        NOT NULL,
    side         text,
    price        double precision,
    usd_micros   bigint,
    completeness text        NOT NULL,
    flags        text        NOT NULL,
    PRIMARY KEY (at, run, ordinal)
);
COMMENT ON COLUMN foreshock.liquidations.at IS 'when it counts: received, moved back inside its frame by the venue''s own spacing';
COMMENT ON COLUMN foreshock.liquidations.ordinal IS 'number of the event among all the engine took in this run';
COMMENT ON COLUMN foreshock.liquidations.side IS 'the position that was liquidated: long or short';
COMMENT ON COLUMN foreshock.liquidations.price IS 'USD per unit of the base asset';
COMMENT ON COLUMN foreshock.liquidations.usd_micros IS 'value in micro-dollars (1e-6 USD)';
COMMENT ON COLUMN foreshock.liquidations.flags IS 'what is special about it, words between spaces';

CREATE TABLE foreshock.states (
    at                            timestamptz      NOT NULL,
    run                           bigint           NOT NULL,
    symbol                        text             NOT NULL,
    probability                   double precision NOT NULL,
    level                         text             NOT NULL,
    risk                          double precision NOT NULL,
    risk_level                    text             NOT NULL,
    confidence                    double precision NOT NULL,
    coverage                      double precision NOT NULL,
    gap                           boolean          NOT NULL,
    saturated                     boolean          NOT NULL,
    event_count_100ms             bigint           NOT NULL,
    event_count_500ms             bigint           NOT NULL,
    event_count_2s                bigint           NOT NULL,
    event_count_10s               bigint           NOT NULL,
    event_count_30s               bigint           NOT NULL,
    event_count_60s               bigint           NOT NULL,
    event_count_300s              bigint           NOT NULL,
    usd_micros_100ms              bigint,
    usd_micros_500ms              bigint,
    usd_micros_2s                 bigint,
    usd_micros_10s                bigint,
    usd_micros_30s                bigint,
    usd_micros_60s                bigint,
    usd_micros_300s               bigint,
    acceleration                  double precision,
    acceleration_significance     double precision,
    jerk                          double precision,
    jerk_significance             double precision,
    value_acceleration            double precision,
    value_jerk                    double precision,
    acceleration_10s              double precision,
    acceleration_significance_10s double precision,
    jerk_10s                      double precision,
    jerk_significance_10s         double precision,
    value_acceleration_10s        double precision,
    value_jerk_10s                double precision,
    evidence                      double precision NOT NULL,
    significance                  double precision,
    pressure                      double precision,
    imbalance                     double precision,
    breadth                       bigint           NOT NULL,
    dispersion                    bigint           NOT NULL,
    clustering                    double precision,
    correlation                   double precision,
    regime                        text             NOT NULL,
    liquidity                     text             NOT NULL,
    trend                         text             NOT NULL,
    volatility                    double precision,
    btc_price                     double precision,
    price                         double precision,
    oi_change                     double precision,
    funding                       double precision,
    live                          text             NOT NULL,
    PRIMARY KEY (at, run, symbol)
);
COMMENT ON TABLE foreshock.states IS 'the last state of each second in which a symbol, or the row MARKET, had one';
COMMENT ON COLUMN foreshock.states.event_count_2s IS 'liquidations in the window; per second: divided by its length';
COMMENT ON COLUMN foreshock.states.usd_micros_2s IS 'their value in micro-dollars (1e-6 USD)';
COMMENT ON COLUMN foreshock.states.live IS 'venues that could be heard, words between spaces';
