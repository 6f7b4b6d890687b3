//! Which `cog.yaml` holds.
