"""What a student is trained on, one loss a file; `workers.train.objective` adds them up."""
