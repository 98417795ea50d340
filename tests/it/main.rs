//! The one integration-test binary: one link, many suites.

mod engine;
