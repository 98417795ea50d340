//! Controllers: the built binary on real etcd, kube-apiserver and registry, and reconciles driven by hand.

pub mod real;
mod two;

mod bad_input;
mod commit;
mod crowd;
mod defined;
mod deletion;
mod leader;
mod leave;
mod life;
mod load;
mod lost;
mod neighbours;
mod reach;
mod sequences;
mod startup;
