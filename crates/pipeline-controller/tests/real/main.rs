//! The controller as a process, on a real API server, real git servers and hosts.

#![cfg(test)]

mod world;

mod crash;
mod faults;
mod pull_request;
mod shapes;
mod ssh;
mod webhook;
