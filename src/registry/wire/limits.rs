//! Limits that several rooms name: of a request, and of a look.

use std::time::Duration;

/// One request and its whole body: 4 MiB at 0.3 MiB/s.
pub(crate) const REQUEST_LIMIT: Duration = Duration::from_secs(15);
/// A whole look, waiting and trying again included: two requests that take their full 15 s. It bounds how long
/// a look at one host can keep a place among the sets that are worked on at once.
pub(crate) const LOOK_LIMIT: Duration = Duration::from_secs(30);
/// Requests that one look has open at once: two platforms of four images, or all of most images.
pub(crate) const PARALLEL_MAX: usize = 8;
