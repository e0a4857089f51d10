"""Several devices or machines that train one learner."""
