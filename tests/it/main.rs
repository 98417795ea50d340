//! The one integration-test binary: one link, many suites.

#[cfg(test)]
mod adapters;
#[cfg(test)]
mod architecture;
#[cfg(test)]
mod chart;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod companion;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod controller;
#[cfg(test)]
mod crd;
#[cfg(test)]
mod docs;
#[cfg(test)]
mod engine;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod flux;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod guard;
#[cfg(test)]
mod install;
#[cfg(test)]
mod model;
#[cfg(test)]
mod monitoring;
#[cfg(test)]
mod mutants;
#[cfg(test)]
mod reach;
#[cfg(test)]
mod readme;
#[cfg(test)]
mod registry;
#[cfg(test)]
mod requests;
#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod security;
#[cfg(test)]
mod sequences;
#[cfg(test)]
mod sharing;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod smoke;
#[cfg(test)]
mod supply;
#[cfg(test)]
mod walk;
