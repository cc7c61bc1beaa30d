"""What every training loop here shares: checkpoints and learning-rate schedules."""
