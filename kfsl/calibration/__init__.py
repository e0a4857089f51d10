"""Whether probabilities keep their word, and what belongs to no class: numbers, no learner."""
