"""20,000 random operations from 4 processes while it mirrors, then a barrier, then equal trees.

FANMIRROR_SEED chooses another sequence, FANMIRROR_CHURN another number of operations.
"""

import os

from lib import churn
from lib.case import MirrorCase, main

SEED = os.environ.get("FANMIRROR_SEED", "2026")
OPERATIONS = int(os.environ.get("FANMIRROR_CHURN", "20000"))
PROCESSES = 4
SETTLES = 4  # the barrier is asked for so many times on the way, too


class Churn(MirrorCase):
    def test_equal_after_churn(self):
        print(f"seed {SEED}", flush=True)
        for part in range(SETTLES):
            with self.subTest(seed=SEED, part=part):
                churn.finish(churn.start(self.dir, f"{SEED}/{part}", PROCESSES, OPERATIONS // SETTLES))
                self.settle()
        status = self.mirror.status()
        self.assertEqual(status["counters"]["overflows"], 0)
        self.assertEqual(status["jobs"][0]["targets"][0]["pending"], 0)


if __name__ == "__main__":
    main()
