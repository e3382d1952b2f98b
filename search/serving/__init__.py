"""`search serve`: recognition of recordings and of live speech for others, over HTTP."""
