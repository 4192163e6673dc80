import sys

from experiments.shared.begin import begin

begin()

from experiments.online.main import main  # noqa: E402

sys.exit(main())
