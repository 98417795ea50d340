//! What a repository holds: tag lists for discovery, manifests and configs for evidence.

pub(crate) mod blobs;
pub(crate) mod facts;
pub(crate) mod fetch;
pub(crate) mod flatten;
pub(crate) mod link;
pub(crate) mod look;
pub(crate) mod manifest;
pub(crate) mod paging;
pub(crate) mod seen;
pub(crate) mod tags;
pub(crate) mod walk;
