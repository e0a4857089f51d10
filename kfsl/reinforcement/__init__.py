"""Meta-reinforcement learning: policies that adapt to a task by acting in it."""

from kfsl.reinforcement.half_cheetah import HalfCheetah
from kfsl.reinforcement.navigation import Navigation
from kfsl.reinforcement.policy_experiment import PolicyExperiment
from kfsl.reinforcement.policy_gradient import PolicyGradient
from kfsl.reinforcement.trust_region import TrustRegion

__all__ = ["HalfCheetah", "Navigation", "PolicyExperiment", "PolicyGradient", "TrustRegion"]
