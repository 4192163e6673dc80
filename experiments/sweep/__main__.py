import sys

from experiments.shared.begin import begin

begin()

from experiments.sweep.command import main  # noqa: E402

sys.exit(main())
