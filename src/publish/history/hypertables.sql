-- Run after schema.sql where the extension timescaledb (2.13 or later) is there. On tables that hold
-- rows already it needs migrate_data => true as well.
SELECT create_hypertable('foreshock.liquidations', by_range('at', INTERVAL '1 day'),
                         create_default_indexes => false, if_not_exists => true);
SELECT create_hypertable('foreshock.states', by_range('at', INTERVAL '1 day'),
                         create_default_indexes => false, if_not_exists => true);
