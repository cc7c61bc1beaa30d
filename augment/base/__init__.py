"""Which diffusion model a study starts from: loaded, or trained here."""
