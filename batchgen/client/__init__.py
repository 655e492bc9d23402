"""For whoever writes an app or a script: everything behind `BatchgenClient`."""
