"""Long looks at the doors: the Autobahn suite, fuzzing, a soak. Run by `scripts/autobahn`, `fuzz` and `soak`."""
