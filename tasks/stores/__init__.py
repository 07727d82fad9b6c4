"""Stores of a run outside of its machine: S3, Google Cloud Storage, folders. Standard library until one is opened.

`opening.open_store` gives a `store.Store`, the one door: it retries, verifies and goes on with what was interrupted.
`s3`, `gcs` and `folder` only know how one request is made and what its failure means. What a run keeps there, and in
which order it becomes valid, is `folders` (files with a manifest written last) and `event_parts`. The manager uses this
package too, so it knows neither torch nor the trainer.
"""
