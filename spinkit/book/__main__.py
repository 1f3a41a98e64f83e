"""`python -m spinkit.book`, which is `./run book`."""

from spinkit.book.command import main

raise SystemExit(main())
