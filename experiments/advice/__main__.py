import sys

from experiments.shared.begin import begin

begin()

from experiments.advice.reading import main  # noqa: E402

sys.exit(main())
