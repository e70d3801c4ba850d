"""The paper's equations, and what follows from them without a network."""
