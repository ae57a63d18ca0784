"""How Airflow's side reaches the ML interpreter."""
