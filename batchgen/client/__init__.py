"""The library for apps and scripts. Its public class is `BatchgenClient`."""
