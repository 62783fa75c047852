from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
collect_ignore_glob = ["fuzz_*.py"]  # they hold no examples, and a second import would register targets twice
