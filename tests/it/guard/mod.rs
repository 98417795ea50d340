//! The admission guard on a real API server: policies as helm renders them, lists as the controller writes them.

mod costs;
mod enforced;
mod flux;
mod following;
mod policies;
mod records;
mod refused;
mod roll_out;
mod sequence_12;
pub mod world;
