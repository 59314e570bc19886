"""JupyterHub for a class on one Linux machine.

docs/classroom.md says how to start it, and where its numbers come from.
"""

import os
import sys
from pathlib import Path

c = get_config()

# The proxy and the students' servers are looked for beside this Python first.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])

# Only the machine itself is listened to: something that speaks HTTPS has to stand in front.
c.JupyterHub.bind_url = "http://127.0.0.1:8000"

# Who may come in: accounts of this machine that are in the group "seqlib".
c.JupyterHub.authenticator_class = "pam"
c.PAMAuthenticator.allowed_groups = {"seqlib"}

# What each student gets. JupyterHub only hands these limits on; it is the spawner that enforces them. This
# one does, by systemd. JupyterHub's own local spawners do not.
c.JupyterHub.spawner_class = "systemd"
c.Spawner.mem_limit = "3G"
c.Spawner.cpu_limit = 1.0
c.Spawner.environment = {"OMP_NUM_THREADS": "1"}  # or PyTorch would take all cores in every kernel

# The server itself, opened on the first chapter. A class that begins at once starts slowly: give it time.
c.Spawner.cmd = [str(Path(__file__).resolve().parent / "start.sh")]
c.Spawner.default_url = "/lab/tree/seqlib/00_start_here.ipynb"
c.Spawner.start_timeout = 300
c.Spawner.http_timeout = 300

# What nobody uses is stopped: kernels without an open tab after half an hour, servers after an hour.
c.Spawner.args = [
    "--MappingKernelManager.cull_idle_timeout=1800",
    "--MappingKernelManager.cull_interval=300",
]
c.JupyterHub.services = [
    {
        "name": "idle-culler",
        "command": [sys.executable, "-m", "jupyterhub_idle_culler", "--timeout=3600"],
    }
]
c.JupyterHub.load_roles = [
    {
        "name": "idle-culler",
        "scopes": ["list:users", "read:users:activity", "read:servers", "delete:servers"],
        "services": ["idle-culler"],
    }
]
