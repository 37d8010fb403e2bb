-- The energy of each meter and day in kWh, as pvsim report has it:
--
--     cd /var/lib/pvsim && duckdb < /usr/share/doc/pvsim/examples/energy-duckdb.sql
--
-- A row counts for one second, the interval of a meter unless it is set; replace 3600 by 3600 / interval else.

SELECT
    meter_id,
    regexp_extract(filename, '(\d{4}-\d{2}-\d{2})\.csv$', 1) AS day,
    sum(meter_power_value_w) / 1000 / 3600 AS load_kwh,
    sum(pv_power_value_kw) / 3600 AS pv_kwh,
    sum(greatest(meter_power_value_w / 1000 - pv_power_value_kw, 0)) / 3600 AS import_kwh,
    sum(greatest(pv_power_value_kw - meter_power_value_w / 1000, 0)) / 3600 AS export_kwh
FROM read_csv(
    '*-????-??-??.csv',
    header = true,
    filename = true,
    columns = {
        'meter_id': 'VARCHAR',
        'time_s': 'DOUBLE',
        'meter_power_value_w': 'DOUBLE',
        'pv_power_value_kw': 'DOUBLE',
        'sum_meter_pv_w': 'DOUBLE'
    }
)
GROUP BY ALL
ORDER BY ALL;
