"""Makes images: base model, personalisation, sampler. Never imports classify."""
