"""What other tools see of a study: Prometheus, OpenTelemetry, MLflow, Weights & Biases, Optuna."""
