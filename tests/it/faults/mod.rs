//! The built binary on a real API server and registry, with a proxy of ours in between: killed at each of its writes, without
//! answers, with late, wrong and half answers. [`gate`] sees requests, [`wire`] sees bytes, [`witness`] sees what is written.

mod gate;
mod truth;
mod wire;
mod witness;

mod api_server;
mod deadlines;
mod half_open;
mod kills;
mod outages;
mod registry;
