"""SQL: tables, engine, queries and transactions. The only floor that knows SQLAlchemy."""
