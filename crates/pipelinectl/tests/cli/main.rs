//! The program as its users call it.

#![cfg(test)]

mod edit;
mod plan;
mod promote;
mod refused;
mod run;
mod webhook;
mod world;
