// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

package postgres

// The queries run on PostgreSQL 13 to 18 as a role without any privilege. Each
// yields one row of one column. Names are qualified, so that no search_path
// changes their meaning.

// factsQuery reads what every role may read.
const factsQuery = `
select pg_catalog.json_build_object(
  'version', pg_catalog.current_setting('server_version'),
  'versionNum', pg_catalog.current_setting('server_version_num')::int,
  'maxConnections', pg_catalog.current_setting('max_connections')::int,
  'superuserReserved', pg_catalog.current_setting('superuser_reserved_connections')::int,
  'reserved', coalesce(pg_catalog.current_setting('reserved_connections', true)::int, 0),
  'roleLimit', (select nullif(rolconnlimit, -1) from pg_catalog.pg_roles where rolname = session_user),
  'databaseLimit', (select case when datconnlimit >= 0 then datconnlimit end
                    from pg_catalog.pg_database where datname = pg_catalog.current_database()),
  'roleOID', (select oid::bigint from pg_catalog.pg_roles where rolname = session_user),
  'superuser', (select rolsuper from pg_catalog.pg_roles where rolname = session_user),
  'canReadAllStats', pg_catalog.pg_has_role(session_user, 'pg_read_all_stats', 'usage'),
  'startMicros', (extract(epoch from pg_catalog.pg_postmaster_start_time()) * 1000000)::bigint,
  'serverAddress', coalesce(pg_catalog.host(pg_catalog.inet_server_addr()), ''),
  'serverPort', coalesce(pg_catalog.inet_server_port(), 0),
  'inRecovery', pg_catalog.pg_is_in_recovery(),
  'pid', pg_catalog.pg_backend_pid())`

// backendsQuery counts client connections. To a plain role backend_type is NULL
// for others' rows: it then goes by what every role sees. datid and usesysid leave
// out the server's own processes and physical walsenders, pg_stat_replication
// logical ones; a parallel worker of another role is counted as one too many.
const backendsQuery = `
select coalesce(pg_catalog.json_agg(g order by g.database, g.role, g.application), '[]')
from (
  select a.datname as database, a.usename as role, coalesce(a.application_name, '') as application,
         pg_catalog.count(*) as count
  from pg_catalog.pg_stat_activity a
  where a.datid is not null and a.usesysid is not null
    and coalesce(a.backend_type, 'client backend') = 'client backend'
    and not exists (select from pg_catalog.pg_stat_replication r where r.pid = a.pid)
  group by 1, 2, 3
) g`

// identifierQuery is apart because administrators may revoke the function.
const identifierQuery = `
select system_identifier::text from pg_catalog.pg_control_system()`
