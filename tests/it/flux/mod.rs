//! Flux beside Tidegate, with as little stood in for as can be: the real kustomize-, helm-, image-reflector- and
//! image-automation-controller ([`controllers::Controllers`]) on the real API server, a real Git server over smart HTTP
//! ([`git::GitServer`]) and a real registry. Only source-controller is a double ([`source::Source`]): its module cannot be had
//! everywhere. [`world::World`] is all of it for one test, [`objects`] are the objects that users write.

pub mod controllers;
pub mod git;
pub mod objects;
pub mod source;
pub mod stage;
pub mod world;

mod measure;
mod scenes;
mod selftest;
