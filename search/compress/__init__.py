"""`search compress`: one model made smaller step by step, each step checked before the next."""
