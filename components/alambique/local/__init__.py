"""A whole deployment on this machine: Airflow, MLflow and S3 on loopback."""
