"""`python -m spinkit.evaluate`, which is `./run evaluate`."""

from spinkit.evaluate.command import main

raise SystemExit(main())
