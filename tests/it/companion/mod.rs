//! The controller beside Flux objects on the embedded world, in virtual time. Flux is played by the test: it writes
//! what Flux's controllers would write (flux research §1).

mod events;
mod following;
mod policy_ref;
pub mod real;
mod references;
mod unread;
mod watches;
mod world;
