"""Runs a specification with KFP's local runner, in this interpreter: SPECIFICATION DEPLOYMENT FOLDER."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from kfp import components, local

specification, deployment, folder = sys.argv[1:]
# The runner starts `python3`, which has to be the one that runs this.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
local.init(local.SubprocessRunner(use_venv=False), pipeline_root=folder)
components.load_component_from_file(specification)(deployment=deployment)
