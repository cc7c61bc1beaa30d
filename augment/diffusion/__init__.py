"""The mathematics of diffusion: objective, samplers and the sampling loop."""
