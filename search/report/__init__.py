"""Shows: charts, tables, terminal, page, CSV. Decides nothing."""
