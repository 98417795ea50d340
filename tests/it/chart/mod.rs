//! The chart: what it renders is accepted by a real API server, runs as a restricted pod, and gives the controller the rights
//! that it takes and no others.

mod opt_in;
mod readme;
mod render;
mod rights;
mod smoke_by_hand;
