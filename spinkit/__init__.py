"""spinkit: learning 3D human pose and shape by fitting a body model in the loop."""

__version__ = "0.1.0"
