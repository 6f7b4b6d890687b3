"""Checks the files in `cog-train/docs/deploy.md`: units by systemd, manifests by the schemas of Kubernetes, scripts by bash.

    pip install kubernetes-validate pyyaml
    apt-get install systemd
    python scripts/deploy-check.py
"""

import os
import re
import subprocess
import tempfile

import kubernetes_validate
import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VERSION = "1.31"


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def check_unit(unit, folder):
    # The program and its environment are not on this machine.
    unit = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", unit, flags=re.MULTILINE)
    path = os.path.join(folder, "my-trainer.service")
    with open(path, "w") as file:
        file.write(unit)
    done = subprocess.run(["systemd-analyze", "verify", path], capture_output=True, text=True)
    told = [line for line in done.stderr.splitlines() if "my-trainer" in line]
    assert done.returncode == 0 and not told, done.stderr


def main():
    with open(os.path.join(ROOT, "cog-train", "docs", "deploy.md")) as file:
        text = file.read()
    with tempfile.TemporaryDirectory() as folder:
        for unit in blocks(text, "ini"):
            check_unit(unit, folder)
    kinds = []
    for manifest in blocks(text, "yaml"):
        for document in yaml.safe_load_all(manifest):
            kubernetes_validate.validate(document, VERSION, strict=True)
            kinds.append(document["kind"])
    scripts = blocks(text, "sh")
    for script in scripts:
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    print(f"a unit, {', '.join(kinds)}, {len(scripts)} scripts: valid")


if __name__ == "__main__":
    main()
