"""The parts of the benchmark `fit`: who is fitted, by which routines, how they are timed and what is reported."""
