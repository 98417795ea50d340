//! The controller: observe, decide, act, report.
//!
//! Watch events only wake ([`watch`]); a reconcile reads everything it acts upon ([`reconcile`]). Every call to
//! the API server has a deadline and no automatic retry ([`context`]); the status has one writer ([`live`]).

pub mod context;
pub mod credentials;
pub mod deletion;
pub mod events;
pub mod flux;
pub mod gauges;
pub mod guard;
pub mod jobs;
pub mod leader;
pub mod live;
pub mod look;
pub mod look_room;
pub mod reach;
pub mod reader;
pub mod reconcile;
pub mod room;
pub mod startup;
pub mod targets;
pub mod watch;
