"""What to try next, who does it, and what came of it; the command line."""
