-- A partner's database, at its first start: an account that reads the table, and can write nothing.  The image runs this
-- as the owner; the password is the file that docker/prepare.py made.
SELECT format('CREATE ROLE reader LOGIN PASSWORD %L', trim(E'\n' FROM pg_read_file('/run/secrets/reader'))) \gexec
ALTER ROLE reader SET default_transaction_read_only = on;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO reader;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO reader;
