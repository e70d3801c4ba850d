"""Training of the estimator and the deblurrer."""
