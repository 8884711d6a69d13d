//! The git module against the real `git http-backend` over TLS, with what goes wrong on the way.

#![cfg(test)]

mod bed;
mod cache;
mod cuts;
mod faults;
mod fetch;
mod killed;
mod large;
mod push;
mod shared;
mod signing;
