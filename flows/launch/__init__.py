"""Sets up and starts what a run needs: environment, Prefect server, worker. Standard library only."""
