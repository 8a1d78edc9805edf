"""How questions are answered: what is known of one name, folds across models that are kept, now and as of then."""
