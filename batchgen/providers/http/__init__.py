"""What providers have in common that are asked over HTTP."""
