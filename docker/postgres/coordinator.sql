-- The coordinator's database, at its first start: an account that owns it, and nothing else.
SELECT format('CREATE ROLE coordinator LOGIN PASSWORD %L', trim(E'\n' FROM pg_read_file('/run/secrets/coordinator'))) \gexec
CREATE DATABASE coordinator OWNER coordinator;
REVOKE ALL ON DATABASE coordinator FROM PUBLIC;
