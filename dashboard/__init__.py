"""Pages, charts and queries. The pages themselves are not written yet."""
