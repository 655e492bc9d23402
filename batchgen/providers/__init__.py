"""Image providers: `base` says what one is, `registry` makes each as the settings have it."""
