//! The program as its users call it.

#![cfg(test)]

mod docs;
mod edit;
mod lint;
mod plan;
mod promote;
mod refused;
mod run;
mod webhook;
mod world;
