"""What the fuzz run is made of: ways to damage a file, kinds of files with their readers, and a worker that may die."""
