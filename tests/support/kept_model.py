"""A run at home whose folder in a store has its tuned model too."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from tasks.job import DataChoice, Job, ModelChoice, StoreChoice
from tasks.stores.folders import push_folder
from tasks.stores.opening import open_store
from tasks.stores.store import Store


def keep_model(run_dir: Path, keep: str, *, bucket: Path) -> Store:
    """Write the run's job and model, and the same model and a checkpoint into a folder that stands for its bucket.

    Args:
        run_dir: of the run; its name is the run's id.
        keep: as `storage.keep` of the run file.
        bucket: the folder.
    """
    (run_dir / "model").mkdir(parents=True)
    (run_dir / "model" / "model.safetensors").write_bytes(b"weights")
    uri = f"file://{quote(str(bucket))}/{run_dir.name}"
    job = Job(
        run_id=run_dir.name,
        model=ModelChoice(source="m"),
        data=DataChoice(source="d"),
        store=StoreChoice(uri=uri, keep=keep),
    )
    (run_dir / "job.json").write_text(job.to_json())
    store = open_store(uri)
    push_folder(store, run_dir / "model", "model")
    store.put_bytes("checkpoints/step-1/model.safetensors", b"older")
    return store
